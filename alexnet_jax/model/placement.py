"""What a model must know of the devices it is spread over. By default: nothing."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from alexnet_jax.model.formulations import Formulation

DotGeneral = Callable[..., Any]
Convolution = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Placement:
    """How a model is spread over devices, where the compiler does not decide it alone.

    Attributes:
      batch_axis: Name of the mapped axis over which a batch is split, where the model sees one device's part of
        it; batch statistics are then averaged over that axis. None where the model sees whole batches.
      dense_products: Dense layer -> what multiplies there, in the form of ``lax.dot_general``, given what multiplies
        on one device in the same form.
      by_row: Gives every device its own rows of a function of (images, kernel), which has no gradient between them;
        None where the model sees one device's rows or there is only one device.
    """

    batch_axis: str | None = None
    dense_products: Mapping[str, Callable[[DotGeneral], DotGeneral]] = dataclasses.field(
        default_factory=dict, hash=False
    )
    by_row: Callable[[Convolution], Convolution] | None = None

    def convolution(self, formulation: Formulation) -> Convolution:
        """Returns what convolves, in the form of ``lax.conv_general_dilated``."""
        if self.by_row is None or not formulation.by_device:
            return formulation.convolution
        return self.by_row(formulation.convolution)

    def dense_product(self, name: str, formulation: Formulation) -> DotGeneral:
        """Returns what multiplies in the dense layer ``name``, in the form of ``lax.dot_general``."""
        if name not in self.dense_products:
            return formulation.dense_product
        return self.dense_products[name](formulation.dense_product)
