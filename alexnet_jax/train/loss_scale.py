"""Scaling the loss so that float16 gradients do not vanish; steps whose gradients overflow are skipped and counted."""

import dataclasses
from typing import Any

import jax
from jax import numpy as jnp

# As PyTorch's GradScaler.
GROWTH, GROWTH_INTERVAL, BACKOFF = 2.0, 2000, 0.5
LEAST = 1.0  # of a dynamic scale: below, the gradients would be made smaller

MODES = ("auto", "none", "static", "dynamic")

State = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class LossScaling:
    """How the scale moves. Source: Micikevicius et al., arXiv:1710.03740, section 3.2.

    Attributes:
      initial: The scale at the start.
      dynamic: Whether it doubles after 2,000 steps in a row without overflow and halves at each overflow.
    """

    initial: float
    dynamic: bool

    def initial_state(self) -> State:
        """Returns the state before the first step, a part of ``TrainState``."""
        return {
            "scale": jnp.full((), self.initial, jnp.float32),
            "good_steps": jnp.zeros((), jnp.int32),  # since the scale last moved
            "skipped_steps": jnp.zeros((), jnp.int32),  # since the run began
        }

    def update(self, state: State, finite: jax.Array) -> State:
        """Returns the state after a step whose gradients were ``finite`` (bool scalar) or not."""
        good = jnp.where(finite, state["good_steps"] + 1, 0)
        scale = state["scale"]
        if self.dynamic:
            lowered = jnp.maximum(scale * BACKOFF, LEAST)
            raised = jnp.where(good == GROWTH_INTERVAL, scale * GROWTH, scale)
            scale = jnp.where(finite, raised, lowered)
            good = jnp.where(good == GROWTH_INTERVAL, 0, good)
        skipped = state["skipped_steps"] + jnp.where(finite, 0, 1)
        return {"scale": scale, "good_steps": good, "skipped_steps": skipped}

    def may_recover(self, state: State) -> jax.Array:
        """Returns whether skipping a step whose gradients overflow at this state can help, a bool scalar.

        A dynamic scale helps by going down. A static one stays: another batch may help, but not where the step before
        was skipped too.
        """
        if self.dynamic:
            return state["scale"] > LEAST
        return (state["good_steps"] > 0) | (state["skipped_steps"] == 0)


def keep_if(finite: jax.Array, new: Any, old: Any) -> Any:
    """Returns ``new`` where ``finite``, else ``old``, but for whole numbers, which are ``new`` always.

    A skipped step changes no parameter and no momentum, but it was a step: Optax's count of them, which the learning
    rate follows, goes on.
    """
    return jax.tree.map(
        lambda n, o: jnp.where(finite, n, o) if jnp.issubdtype(n.dtype, jnp.inexact) else n,
        new,
        old,
    )
