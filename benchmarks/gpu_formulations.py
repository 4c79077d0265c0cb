"""The formulations of the layers that gpu_report.py compares."""

import types
from typing import Any

import jax
from jax import lax

from alexnet_jax.model import alexnet, layers

PLAIN = types.SimpleNamespace(
    convolution=layers.convolution,
    relu_max_pool=lambda x, window, stride: layers.max_pool(jax.nn.relu(x), window, stride),
    dense_product=lax.dot_general,
)
FORMULATIONS = {"plain": PLAIN}
NAMES = tuple(FORMULATIONS)


def network(request: Any, dtype: Any, name: str, dropout_rate: float | None) -> alexnet.AlexNet:
    """Returns the network that computes in ``dtype`` and by the formulation called ``name``."""
    del name  # there is one
    return alexnet.create(
        request.variant,
        num_classes=request.num_classes,
        image_size=request.image_size,
        dropout_rate=dropout_rate,
        dtype=dtype,
    )
