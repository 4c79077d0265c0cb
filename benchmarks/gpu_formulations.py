"""The networks that gpu_report.py compares: one of each formulation."""

from typing import Any

from alexnet_jax.model import alexnet
from alexnet_jax.model.formulations import FORMULATIONS

NAMES = tuple(FORMULATIONS)


def network(request: Any, dtype: Any, name: str, dropout_rate: float | None) -> alexnet.AlexNet:
    """Returns the network that computes in ``dtype`` and by the formulation called ``name``."""
    return alexnet.create(
        request.variant,
        num_classes=request.num_classes,
        image_size=request.image_size,
        dropout_rate=dropout_rate,
        dtype=dtype,
        layers=name,
    )
