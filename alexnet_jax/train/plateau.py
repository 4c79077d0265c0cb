"""Lowering the learning rate when evaluations stop improving, as PyTorch's ReduceLROnPlateau does."""

import dataclasses

import jax
from jax import numpy as jnp
from jax.typing import ArrayLike

# The metrics a plateau can be seen in, and which of two values is the better one: 1 the larger, -1 the smaller.
METRICS = {"loss": -1, "top1": 1}

LEAST_CHANGE = 1e-8  # PyTorch's eps: a smaller change of the rate is not made


@dataclasses.dataclass(frozen=True)
class Plateau:
    """When to lower the rate, and by how much.

    Attributes:
      learning_rate: The peak, which the scale multiplies.
      metric: A key of ``METRICS``.
      factor: What the rate is multiplied with.
      patience: Evaluations without improvement that are tolerated; the next one lowers the rate.
      threshold: The least improvement that counts, as a fraction of the best value.
      min_learning_rate: Where lowering ends.
    """

    learning_rate: float
    metric: str
    factor: float
    patience: int
    threshold: float
    min_learning_rate: float

    def initial(self) -> dict[str, jax.Array]:
        """Returns the state before the first evaluation, a part of ``TrainState``."""
        return {
            "scale": jnp.ones((), jnp.float32),
            "best": jnp.full((), -jnp.inf * METRICS[self.metric], jnp.float32),
            "bad_evaluations": jnp.zeros((), jnp.int32),
        }

    def update(self, state: dict[str, jax.Array], value: ArrayLike) -> dict[str, jax.Array]:
        """Returns the state after an evaluation that gave ``value``; a NaN is no improvement."""
        sign = METRICS[self.metric]
        value = jnp.asarray(value, jnp.float32)
        better = sign * value > sign * state["best"] * (1 + sign * self.threshold)
        bad = jnp.where(better, 0, state["bad_evaluations"] + 1)
        lower = bad > self.patience
        rate = self.learning_rate * state["scale"]
        lowered = jnp.maximum(rate * self.factor, self.min_learning_rate)
        change = lower & (rate - lowered > LEAST_CHANGE)
        return {
            "scale": jnp.where(change, lowered / self.learning_rate, state["scale"]),
            "best": jnp.where(better, value, state["best"]),
            "bad_evaluations": jnp.where(lower, 0, bad),
        }
