"""Timing calls that compete for one machine."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

WARM_UP_ROUNDS = 2


def median_seconds(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Returns each call's median time; they take turns, so that all see the same machine.

    Args:
      calls: By name; each must wait for what it started.
      rounds: How many are timed, after ``WARM_UP_ROUNDS``.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(WARM_UP_ROUNDS + rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[WARM_UP_ROUNDS:]) for name, values in times.items()}
