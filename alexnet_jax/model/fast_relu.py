"""Bias and ReLU in one, whose gradient for the bias is a matrix product.

XLA sums over the pixels of all images by windows, one after the other; a product with ones does it at the rate of the
memory. Gradients are of reverse mode only.
"""

import jax
from jax import lax
from jax import numpy as jnp


def relu(x: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Computes ``max(x + bias, 0)``.

    Args:
      x: [..., features].
      bias: [features] in the dtype of ``x``; None for none.
    """
    return jax.nn.relu(x) if bias is None else _bias_relu(x, bias)


@jax.custom_vjp
def _bias_relu(x: jax.Array, bias: jax.Array) -> jax.Array:
    return jax.nn.relu(x + bias)


def _forward(x: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = _bias_relu(x, bias)
    return y, y


def _backward(y: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    for_x = jnp.where(y > 0, gradient, jnp.zeros_like(gradient))
    return for_x, feature_sums(for_x).astype(for_x.dtype)


_bias_relu.defvjp(_forward, _backward)


def feature_sums(x: jax.Array) -> jax.Array:
    """Returns the float32 sums over all but the last axis, [features]."""
    rows = x.reshape(-1, x.shape[-1])
    ones = jnp.ones((1, rows.shape[0]), x.dtype)
    contracted = (((1,), (0,)), ((), ()))
    return lax.dot_general(ones, rows, contracted, preferred_element_type=jnp.float32)[0]
