"""What a model must know of the devices it is spread over. By default: nothing."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jax import lax

DotGeneral = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Placement:
    """How a model is spread over devices, where the compiler does not decide it alone.

    Attributes:
      batch_axis: Name of the mapped axis over which a batch is split, where the model sees one device's part of
        it; batch statistics are then averaged over that axis. None where the model sees whole batches.
      dense_products: Dense layer -> what multiplies there, in the form of ``lax.dot_general``.
    """

    batch_axis: str | None = None
    dense_products: Mapping[str, DotGeneral] = dataclasses.field(default_factory=dict, hash=False)

    def dense_product(self, name: str) -> DotGeneral:
        """Returns what multiplies in the dense layer ``name``."""
        return self.dense_products.get(name, lax.dot_general)
