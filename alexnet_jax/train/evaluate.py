"""Evaluation: every example exactly once."""

from collections.abc import Callable, Iterable
from typing import Any

from alexnet_jax.train.metrics import Accumulator, Averages
from alexnet_jax.train.state import TrainState


def evaluate(
    eval_step: Callable[[TrainState, Any], Any], state: TrainState, batches: Iterable[Any]
) -> Averages:
    """Adds up an evaluation step's sums over all batches and divides once.

    Args:
      eval_step: ``(state, batch) -> sums``.
      state: To evaluate.
      batches: On the devices; padding is masked.
    """
    accumulator = Accumulator()
    pending = None
    for batch in batches:
        sums = eval_step(state, batch)
        if pending is not None:
            accumulator.add(pending)  # one batch late, so that the device never waits for the host
        pending = sums
    if pending is not None:
        accumulator.add(pending)
    return accumulator.averages()
