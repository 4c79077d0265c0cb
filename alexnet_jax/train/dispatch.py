"""Several training steps in one call of the device, where the images lie on it."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from alexnet_jax.train.state import TrainState
from alexnet_jax.train.steps import Sums, TrainStep

# At most so many by "auto" on an accelerator. What a call costs is then spread thin, and a run still shows its progress
# every few seconds on a slow device.
AUTOMATIC_STEPS = 32

ManySteps = Callable[[TrainState, dict[str, Any]], tuple[TrainState, Sums]]


def make_train_steps(step: TrainStep) -> ManySteps:
    """Returns ``(state, {"images", "steps", "count"}) -> (state, sums)``: ``count`` steps, one after the other.

    "images" are all of the split, [examples, height, width, 3]; "steps" has what a batch has, with an axis of steps
    before that of rows, and in the place of images their indices; "count" says how many of them to take. Each of the
    sums has that axis too; behind "count" it holds zeros.

    The number of steps is an argument and not part of the program: one program serves every number, so that a step
    computes the same bits whichever steps it shares a dispatch with. Where there is room for one step only, there is no
    loop: XLA's CPU compiler makes the gradient of a convolution's kernel tens of times slower in one.
    """

    def train_steps(state: TrainState, batch: dict[str, Any]) -> tuple[TrainState, Sums]:
        def one(state: TrainState, at: jax.Array) -> tuple[TrainState, Sums]:
            rows = jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, at, 0, False), batch["steps"])
            images = jnp.take(batch["images"], rows["image"], axis=0, mode="clip")
            return step(state, {**rows, "image": images})

        def add(at: jax.Array, carry: tuple[TrainState, Sums]) -> tuple[TrainState, Sums]:
            state, written = carry
            state, sums = one(state, at)
            return state, {name: written[name].at[at].set(value) for name, value in sums.items()}

        most = batch["steps"]["row"].shape[0]
        if most == 1:
            state, sums = one(state, jnp.int32(0))
            return state, {name: value[None] for name, value in sums.items()}
        shapes = jax.eval_shape(one, state, jnp.int32(0))[1]
        zeros = {name: jnp.zeros((most, *sum_.shape), sum_.dtype) for name, sum_ in shapes.items()}
        return lax.fori_loop(0, batch["count"], add, (state, zeros))

    return train_steps


def per_step(sums: Sums, count: int) -> list[dict[str, np.generic]]:
    """Returns the sums of each of the ``count`` steps of a dispatch on the host; waits for the device if need be."""
    values = {name: np.atleast_1d(value) for name, value in jax.device_get(sums).items()}
    return [{name: value[at] for name, value in values.items()} for at in range(count)]
