"""The doctor's checks that need the trainer: its optimizer, and checkpoints on the device."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jax import numpy as jnp

from alexnet_jax.backend.checks import OK, WRONG, Check
from alexnet_jax.train import checkpoint, state
from alexnet_jax.train.checkpoint_writer import Checkpoints, Identity
from alexnet_jax.train.optimizer import sgd


def _state(device: jax.Device) -> state.TrainState:
    optimizer = sgd(
        lambda step: jnp.asarray(0.1),
        momentum=0.9,
        nesterov=False,
        weight_decay=0.0,
        decay_mask="all",
    )
    values = np.random.default_rng(0).standard_normal((8, 8), np.float32)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        cpu = state.create({"fc": {"kernel": jnp.asarray(values)}}, {}, optimizer)
    return jax.device_put(cpu, device)


def _checkpoint(devices: Sequence[jax.Device]) -> tuple[str, str]:
    """Saves a state from the device and restores it there, bit for bit."""
    saved = _state(devices[0])
    identity = Identity("doctor", 10, 32, device={})
    with tempfile.TemporaryDirectory() as directory:
        workdir = Path(directory)
        writer = Checkpoints(workdir, identity, keep=1, keep_best=False)
        writer.save(1, saved, None)
        writer.close()
        restored = checkpoint.restore(workdir, identity, saved)
    pairs = zip(jax.tree.leaves(saved), jax.tree.leaves(restored), strict=True)
    same = all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)
    return (OK, "") if same else (WRONG, "what is restored differs from what was saved")


CHECKS = (Check("checkpoint save and restore", _checkpoint),)
