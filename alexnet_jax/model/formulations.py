"""The ways in which the same layers are computed."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax.nnx.nn.dtypes import promote_dtype
from jax import lax

from alexnet_jax.model import fast_conv, fast_dense, fast_pool, fast_relu, layers


def promote_all(arrays: Any, /, *, dtype: Any) -> Any:
    """Casts a layer's input, kernel and bias to ``dtype``."""
    return promote_dtype(arrays, dtype=dtype)


def promote_around_kernel(arrays: Any, /, *, dtype: Any) -> Any:
    """Casts a layer's input and bias to ``dtype`` and leaves the kernel to the product."""
    inputs, kernel, bias = arrays
    inputs, bias = promote_dtype((inputs, bias), dtype=dtype)
    return inputs, kernel, bias


@dataclasses.dataclass(frozen=True)
class Formulation:
    """How the layers are computed; every formulation computes the same.

    Attributes:
      convolution: In the form of ``lax.conv_general_dilated``.
      relu: ``relu(x + bias)``, or of x alone where the bias is None.
      relu_max_pool: ``max_pool(relu(x + bias), window, stride)``, likewise.
      dense_product: In the form of ``lax.dot_general``.
      promote: How (input, kernel, bias) are cast to what the layers compute in, in the form of Flax's.
      by_device: Whether each device must see its own images only, because they are taken a few at a time.
    """

    convolution: Callable[..., jax.Array]
    relu: Callable[[jax.Array, jax.Array | None], jax.Array]
    relu_max_pool: Callable[[jax.Array, jax.Array | None, int, int], jax.Array]
    dense_product: Callable[..., jax.Array]
    promote: Callable[..., Any]
    by_device: bool


def _relu(x: jax.Array, bias: jax.Array | None) -> jax.Array:
    return jax.nn.relu(x if bias is None else x + bias)


def _relu_max_pool(x: jax.Array, bias: jax.Array | None, window: int, stride: int) -> jax.Array:
    return layers.max_pool(_relu(x, bias), window, stride)


PLAIN = Formulation(
    convolution=layers.convolution,
    relu=_relu,
    relu_max_pool=_relu_max_pool,
    dense_product=lax.dot_general,
    promote=promote_all,
    by_device=False,
)
FAST = Formulation(
    convolution=fast_conv.convolution,
    relu=fast_relu.relu,
    relu_max_pool=fast_pool.relu_max_pool,
    dense_product=fast_dense.dense_product,
    promote=promote_around_kernel,
    by_device=True,
)
FORMULATIONS = {"plain": PLAIN, "fast": FAST}
