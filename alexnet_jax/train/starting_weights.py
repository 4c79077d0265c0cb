"""What a run starts from or evaluates: ``init_weights``, a file of any format or another run."""

import dataclasses
from collections.abc import Collection
from pathlib import Path

import jax
from jax import numpy as jnp

from alexnet_jax.errors import RequestError
from alexnet_jax.model.variants import get_variant
from alexnet_jax.model.weights import files
from alexnet_jax.model.weights.fit import Weights, fit
from alexnet_jax.train import saved_weights
from alexnet_jax.train.checkpoint import Identity
from alexnet_jax.train.parallel import Strategy
from alexnet_jax.train.state import TrainState


def read(
    path: Path, identity: Identity, *, any_classes: bool = False, use_ema: bool = False
) -> Weights:
    """Reads the weights for a model.

    Args:
      path: A file, a workdir, or one of its checkpoints.
      identity: Of the model.
      any_classes: Whether weights with another number of classes will do, for all layers but the classifier.
      use_ema: Whether to take a run's moving average of the parameters, where it kept one.

    Raises:
      RequestError: If they are of another model.
    """
    if not path.is_dir():
        return fit(
            files.read(path),
            identity.variant,
            num_classes=None if any_classes else identity.num_classes,
            image_size=identity.image_size,
        )
    weights = saved_weights.read(
        path, use_ema=use_ema, variant=identity.variant, image_size=identity.image_size
    )
    if not any_classes and weights.num_classes != identity.num_classes:
        raise RequestError(
            f"init_weights={str(path)!r} has {weights.num_classes} classes; this run asks for "
            f"{identity.num_classes}: set --config.model.num_classes={weights.num_classes}."
        )
    return weights


def place(weights: Weights, state: TrainState, strategy: Strategy) -> TrainState:
    """Returns a state that starts from these weights, on the devices.

    Where they have another number of classes than the state, its own classifier stays, as it was drawn.
    """
    head = get_variant(weights.variant).dense_names[-1]
    own = state.params[head]
    params = jax.tree.map(jnp.asarray, weights.params)
    if own["bias"].shape != params[head]["bias"].shape:
        params[head] = jax.tree.map(lambda leaf: jnp.asarray(jax.device_get(leaf)), own)
    ema_params = jax.tree.map(jnp.copy, params) if state.ema_params else {}
    started = dataclasses.replace(
        state, params=params, model_state=weights.model_state, ema_params=ema_params
    )
    return strategy.place_state(started)


def describe(path: Path, weights: Weights, identity: Identity) -> str:
    """Returns a line that says what a run starts from, and whether its classifier is new."""
    if weights.num_classes == identity.num_classes:
        return f"starts from {path}"
    head = get_variant(weights.variant).dense_names[-1]
    return (
        f"starts from {path}, but for {head}: new, as there are {identity.num_classes} classes and not its "
        f"{weights.num_classes}"
    )


def check_frozen(
    path: str, frozen: Collection[str], identity: Identity, num_classes: int | None
) -> None:
    """Checks that layers that stay as they are were trained before.

    Args:
      path: What the run starts from; empty for nothing.
      frozen: Layers that stay as they are.
      identity: Of the model.
      num_classes: Of what it starts from.

    Raises:
      RequestError: If one was not.
    """
    head = get_variant(identity.variant).dense_names[-1]
    if frozen and not path:
        raise RequestError(
            "optimizer.freeze keeps layers as they are, and without init_weights they are random; use "
            '--config.init_weights=FILE, or --config.optimizer.freeze="()".'
        )
    if head in frozen and num_classes != identity.num_classes:
        raise RequestError(
            f"optimizer.freeze names {head}, which is new: there are {identity.num_classes} classes and not the "
            f"{num_classes} of {path}; leave {head} out."
        )
