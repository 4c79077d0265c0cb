"""Small real runs for the tests of training."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from alexnet_jax.config import default_config
from alexnet_jax.train import experiment


def small_config(**changes: Any) -> ConfigDict:
    """Returns a run of a few seconds: cifar32 on 96 made images, 12 steps an epoch."""
    config = default_config()
    config.model.variant = "cifar32"
    config.model.num_classes = 10
    config.model.precision = "float32"
    config.data.source = "synthetic"
    config.data.synthetic_examples = 96
    config.batch_size = 8
    config.num_epochs = 2
    config.log_every_steps = 5
    config.augment.crop = "pad"
    config.augment.flip_probability = 0.5
    config.augment.color_jitter = 0.2
    config.eval.protocol = "squash"
    config.optimizer.weight_decay = 1e-4
    config.update_from_flattened_dict(changes)
    return config


def build(config: ConfigDict, device_count: int = 1) -> experiment.Experiment:
    """Builds the run on the first CPU devices."""
    sources = experiment.open_sources(config)
    return experiment.build(config, sources, jax.devices("cpu")[:device_count])


def saved_arrays(workdir: Path, step: int) -> dict[str, np.ndarray]:
    """Returns every array of a checkpoint by its name."""
    path = (workdir / "checkpoints" / str(step) / "state").absolute()
    with ocp.StandardCheckpointer() as checkpointer:
        saved = checkpointer.metadata(path).item_metadata.tree
        tree = checkpointer.restore(path, jax.tree.map(lambda m: np.empty(m.shape, m.dtype), saved))
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def assert_same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Fails unless two checkpoints hold the same arrays, bit for bit."""
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name
