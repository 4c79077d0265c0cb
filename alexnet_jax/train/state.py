"""Everything that training changes, as one pytree: what is jitted, donated, sharded and saved."""

import dataclasses
from typing import Any

import jax
import optax
from jax import numpy as jnp

from alexnet_jax.train.loss_scale import LossScaling
from alexnet_jax.train.plateau import Plateau


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """The state after ``step`` steps.

    Attributes:
      step: int32 scalar.
      params: Layer name -> parameter name -> float32 array.
      model_state: Batch statistics in the same form; empty for variants without.
      optimizer_state: Optax's.
      ema_params: Exponential moving average of ``params``; empty without.
      loss_scale: Of ``loss_scale.LossScaling``; empty without.
      plateau: Of ``plateau.Plateau``; empty without. The only part that evaluations change.
    """

    step: jax.Array
    params: dict[str, Any]
    model_state: dict[str, Any]
    optimizer_state: optax.OptState
    ema_params: dict[str, Any] = dataclasses.field(default_factory=dict)
    loss_scale: dict[str, jax.Array] = dataclasses.field(default_factory=dict)
    plateau: dict[str, jax.Array] = dataclasses.field(default_factory=dict)


def create(
    params: dict[str, Any],
    model_state: dict[str, Any],
    optimizer: optax.GradientTransformation,
    *,
    ema: bool = False,
    loss_scaling: LossScaling | None = None,
    plateau: Plateau | None = None,
) -> TrainState:
    """Returns the state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        optimizer_state=optimizer.init(params),
        ema_params=jax.tree.map(jnp.copy, params) if ema else {},  # a step may donate both
        loss_scale=loss_scaling.initial_state() if loss_scaling else {},
        plateau=plateau.initial() if plateau else {},
    )
