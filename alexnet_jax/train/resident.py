"""Data sets that fit on the device are placed there once; a step's images are gathered from that copy."""

from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from alexnet_jax.backend.capabilities import memory_bytes
from alexnet_jax.data.indices import array_bytes
from alexnet_jax.data.sources.base import Source
from alexnet_jax.train.parallel import Strategy
from alexnet_jax.train.steps import DeviceBatch

SETTINGS = ("auto", "true", "false")
MEMORY_SHARE = 0.25  # of a device's, that "auto" gives to the data; the step needs the rest


class Resident:
    """The images of one split, whole on every device."""

    def __init__(self, source: Any, strategy: Strategy):
        """Reads all images and places them.

        Args:
          source: Of arrays.
          strategy: Which says where batches go.
        """
        images, _ = source.gather(np.arange(len(source)))
        self._strategy = strategy
        self._images = jax.device_put(images, strategy.replicated)
        self._gather = jax.jit(
            lambda images, indices: jnp.take(images, indices, axis=0),
            in_shardings=(strategy.replicated, strategy.by_row),
            out_shardings=strategy.by_row,
        )

    def place_batch(self, batch: Any) -> DeviceBatch:
        """Returns the batch on the devices, with images [rows, height, width, 3] for its indices [rows]."""
        placed = self._strategy.place_batch(batch)
        return {**placed, "image": self._gather(self._images, placed["image"])}

    def place_steps(self, batch: Any) -> dict[str, Any]:
        """Returns what ``dispatch.make_train_steps`` takes, for the indices and labels of several steps."""
        steps = self._strategy.place_steps(batch["steps"])
        return {"images": self._images, "steps": steps, "count": batch["count"]}


def unfit(sources: dict[str, Source]) -> str:
    """Returns why data cannot be resident; empty where they can."""
    if any(array_bytes(source) is None for source in sources.values()):
        return "the images are not arrays of one size; pack them first (python -m alexnet_jax pack)"
    if jax.process_count() > 1:
        return "there is more than one process"
    return ""


def is_resident(setting: str, sources: dict[str, Source], devices: list[jax.Device]) -> bool:
    """Returns whether the data are placed on the devices.

    "auto" does so where all splits together take no more than ``MEMORY_SHARE`` of a device's memory. On a CPU it does
    not: the copy would lie in the same memory.
    """
    if setting == "false" or unfit(sources):
        return False
    available = memory_bytes(devices[0])
    needed = sum(array_bytes(source) or 0 for source in sources.values())
    return setting == "true" or (available is not None and needed <= MEMORY_SHARE * available)
