"""What a run starts from or evaluates: ``init_weights``, a file of any format or another run."""

import dataclasses
from pathlib import Path

import jax
from jax import numpy as jnp

from alexnet_jax.errors import RequestError
from alexnet_jax.model.weights import files
from alexnet_jax.model.weights.fit import Weights, fit
from alexnet_jax.train import saved_weights
from alexnet_jax.train.checkpoint import Identity
from alexnet_jax.train.parallel import Strategy
from alexnet_jax.train.state import TrainState


def read(path: Path, identity: Identity) -> Weights:
    """Reads the weights for a model.

    Args:
      path: A file, a workdir, or one of its checkpoints.
      identity: Of the model.

    Raises:
      RequestError: If they are of another model.
    """
    if not path.is_dir():
        return fit(
            files.read(path),
            identity.variant,
            num_classes=identity.num_classes,
            image_size=identity.image_size,
        )
    weights = saved_weights.read(path, use_ema=False, image_size=identity.image_size)
    differences = [
        f"{name} {there!r} there, {here!r} here"
        for name in ("variant", "num_classes")
        if (there := getattr(weights, name)) != (here := getattr(identity, name))
    ]
    if differences:
        raise RequestError(
            f"init_weights={str(path)!r} is another model: {'; '.join(differences)}."
        )
    return weights


def place(weights: Weights, state: TrainState, strategy: Strategy) -> TrainState:
    """Returns a state that starts from these weights, on the devices."""
    params = jax.tree.map(jnp.asarray, weights.params)
    ema_params = jax.tree.map(jnp.copy, params) if state.ema_params else {}
    started = dataclasses.replace(
        state, params=params, model_state=weights.model_state, ema_params=ema_params
    )
    return strategy.place_state(started)
