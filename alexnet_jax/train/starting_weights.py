"""What a run starts from or evaluates: ``init_weights``, a file of any format or another run."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alexnet_jax.errors import RequestError
from alexnet_jax.model.variants import get_variant
from alexnet_jax.model.weights import files
from alexnet_jax.model.weights.fit import Weights, fit
from alexnet_jax.train import saved_weights, trained_run
from alexnet_jax.train.checkpoint import Identity
from alexnet_jax.train.state import TrainState


def read(
    path: Path, identity: Identity, *, any_classes: bool = False, use_ema: bool = False
) -> Weights:
    """Reads the weights for a model.

    Args:
      path: A file, a workdir, or one of its checkpoints.
      identity: Of the model.
      any_classes: Whether weights with another number of classes will do, for all layers but the classifier.
      use_ema: Whether to take a run's moving average of the parameters; a file has but one kind.

    Raises:
      RequestError: If they are of another model, or there is no such average.
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
            f"{path} has {weights.num_classes} classes, and the data have {identity.num_classes}; name weights or data "
            "of as many."
        )
    return weights


def place(weights: Weights, state: TrainState) -> TrainState:
    """Returns a state that starts from these weights, each on the devices of the one it replaces.

    Where they have another number of classes than the state, its own classifier stays, as it was drawn.
    """
    head = get_variant(weights.variant).dense_names[-1]
    fits = state.params[head]["bias"].shape == weights.params[head]["bias"].shape

    def started(own: dict[str, Any]) -> dict[str, Any]:
        return {
            name: own[name] if name == head and not fits else _like(own[name], layer)
            for name, layer in weights.params.items()
        }

    return dataclasses.replace(
        state,
        params=started(state.params),
        model_state=_like(state.model_state, weights.model_state),
        ema_params=started(state.ema_params) if state.ema_params else {},
    )


def _like(placed: Any, values: Any) -> Any:
    """Puts arrays where others of their shapes are; of these, other processes may hold a part."""
    return jax.tree.map(lambda x, at: jax.device_put(np.asarray(x), at.sharding), values, placed)


def describe(path: Path, weights: Weights, identity: Identity) -> str:
    """Returns a line that says what a run starts from, and whether its classifier is new."""
    if weights.num_classes == identity.num_classes:
        return f"starts from {path}"
    head = get_variant(weights.variant).dense_names[-1]
    return (
        f"starts from {path}, but for {head}: new, as there are {identity.num_classes} classes and not its "
        f"{weights.num_classes}"
    )


def other_normalisation(
    path: Path, image_size: int, *, mean: Sequence[float], std: Sequence[float]
) -> list[str]:
    """Returns a line where weights were trained on images normalised otherwise; none where they do not say how.

    Args:
      path: A workdir, one of its checkpoints, or a file.
      image_size: Of the network's input, in pixels.
      mean: That this run subtracts, of red, green and blue, where a pixel is 0 to 1.
      std: That it divides by, likewise.
    """
    try:
        seen = trained_run.look(path, image_size)
    except RequestError as damage:  # the weights themselves are sound
        return [f"warning: {damage} So how its images were normalised is not known."]
    own = {"mean": tuple(map(float, mean)), "std": tuple(map(float, std))}
    others = {name: seen[name] for name in own if seen.get(name, own[name]) != own[name]}
    if not others:
        return []
    theirs = " and ".join(f"data.{name}={value}" for name, value in others.items())
    ours = " and ".join(str(own[name]) for name in others)
    options = " ".join(f'--config.data.{name}="{value}"' for name, value in others.items())
    return [f"note: {path} was trained with {theirs}, this run takes {ours}; theirs: {options}"]


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
