"""Metrics as sums over examples: added up, and divided once at the end."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax import numpy as jnp

SUMS = ("count", "loss", "top1", "top5")
CLASSES_ALL_IN_TOP5 = 5  # of so few the label is always among the first five, whatever the network


def batch_sums(
    losses: jax.Array, logits: jax.Array, labels: jax.Array, mask: jax.Array
) -> dict[str, jax.Array]:
    """Returns the sums over the examples of a batch that are not padding.

    Args:
      losses: float32 [batch].
      logits: float32 [batch, num_classes].
      labels: Integers [batch].
      mask: bool [batch], False for padding.

    Returns:
      Scalars: the number of examples, the sum of their losses, and how many have their label first and among the
      first five. Of equal logits the lower class counts as first; logits with a NaN are never right.
    """
    # By counting the classes ahead of the label and not by top_k, which sharded programs first gather.
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    lower_class = jnp.arange(logits.shape[-1]) < labels[:, None]
    rank = ((logits > own) | ((logits == own) & lower_class)).sum(-1)
    countable = mask & ~jnp.isnan(logits).any(-1)
    return {
        "count": mask.sum(dtype=jnp.int32),
        "loss": jnp.where(mask, losses, 0.0).sum(),
        "top1": (countable & (rank < 1)).sum(dtype=jnp.int32),
        "top5": (countable & (rank < 5)).sum(dtype=jnp.int32),
    }


class Averages(NamedTuple):
    """Metrics of a set of examples: the loss in nats, accuracies as fractions, and how many examples."""

    loss: float
    top1: float
    top5: float
    num_examples: int

    def record(self) -> dict[str, float]:
        """Returns them by name, with top1's 95 % interval: "top1_low" and "top1_high"."""
        low, high = wilson_interval(self.top1, self.num_examples)
        return {**self._asdict(), "top1_low": low, "top1_high": high}


def wilson_interval(fraction: float, count: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of a fraction seen in ``count`` independent examples.

    Source: Wilson, Journal of the American Statistical Association 22 (1927), p. 209.
    """
    z = 1.959963984540054  # the normal distribution's 97.5 % quantile
    centre = fraction + z * z / (2 * count)
    reach = z * math.sqrt(fraction * (1 - fraction) / count + z * z / (4 * count * count))
    low, high = ((centre + sign * reach) / (1 + z * z / count) for sign in (-1, 1))
    return max(low, 0.0), min(
        max(high, fraction), 1.0
    )  # of no or all examples: not beside it by rounding


class Accumulator:
    """Adds up sums on the host, in exact integers and double precision."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Starts over."""
        self._totals: dict[str, float] = dict.fromkeys(SUMS, 0)

    def add(self, sums: Mapping[str, Any]) -> None:
        """Adds the sums of a batch, waiting for the device if need be."""
        for name, value in jax.device_get({name: sums[name] for name in SUMS}).items():
            self._totals[name] += value.item()

    @property
    def count(self) -> int:
        """Examples added since the start."""
        return int(self._totals["count"])

    def averages(self) -> Averages:
        """Returns the metrics of all examples added."""
        count = self.count
        loss, top1, top5 = (self._totals[name] / count for name in ("loss", "top1", "top5"))
        return Averages(loss, top1, top5, count)
