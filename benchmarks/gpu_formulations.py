"""The formulations of the layers that gpu_report.py compares: all that the model has."""

import importlib
import importlib.util
import types
from typing import Any

import jax
from jax import lax

from alexnet_jax.model import alexnet, layers

MODULE = "alexnet_jax.model.formulations"

PLAIN = types.SimpleNamespace(
    convolution=layers.convolution,
    relu_max_pool=lambda x, window, stride: layers.max_pool(jax.nn.relu(x), window, stride),
    dense_product=lax.dot_general,
)
CHOOSABLE = importlib.util.find_spec(MODULE) is not None
FORMULATIONS: dict[str, Any] = (
    importlib.import_module(MODULE).FORMULATIONS if CHOOSABLE else {"plain": PLAIN}
)
NAMES = tuple(FORMULATIONS)


def network(request: Any, dtype: Any, name: str, dropout_rate: float | None) -> alexnet.AlexNet:
    """Returns the network that computes in ``dtype`` and by the formulation called ``name``."""
    chosen = {"layers": name} if CHOOSABLE else {}
    return alexnet.create(
        request.variant,
        num_classes=request.num_classes,
        image_size=request.image_size,
        dropout_rate=dropout_rate,
        dtype=dtype,
        **chosen,
    )
