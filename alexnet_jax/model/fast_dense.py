"""The product of a dense layer, with the weights as they are kept and sums in float32."""

import functools
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

Residual = tuple[jax.Array, jax.Array]


def dense_product(
    x: jax.Array,
    kernel: jax.Array,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    **options: Any,
) -> jax.Array:
    """Multiplies ``x @ kernel``, in the form of ``lax.dot_general``.

    The kernel is rounded to the dtype of ``x`` inside, so that its gradient is not: it is the sum in float32.

    Args:
      x: [batch, in].
      kernel: [in, out], in any dtype.
      dimension_numbers: Not looked at, like the precision and the options: the contraction is fixed.
      precision: See above.
      preferred_element_type: Of the result; that of ``x`` where None.
      **options: See above.
    """
    del dimension_numbers, precision, options
    return _multiply(x, kernel, jnp.dtype(preferred_element_type or x.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _multiply(x: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
    return _dot(x, kernel.astype(x.dtype), 1, 0).astype(dtype)


def _forward(x: jax.Array, kernel: jax.Array, dtype: Any) -> tuple[jax.Array, Residual]:
    return _multiply(x, kernel, dtype), (x, kernel)


def _backward(dtype: Any, residual: Residual, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    del dtype
    x, kernel = residual
    gradient = gradient.astype(x.dtype)
    for_x = _dot(gradient, kernel.astype(x.dtype), 1, 1).astype(x.dtype)
    return for_x, _dot(x, gradient, 0, 0).astype(kernel.dtype)


_multiply.defvjp(_forward, _backward)


def _dot(a: jax.Array, b: jax.Array, a_axis: int, b_axis: int) -> jax.Array:
    """Multiplies matrices over one axis of each, summing in float32."""
    contracted = (((a_axis,), (b_axis,)), ((), ()))
    return lax.dot_general(a, b, contracted, preferred_element_type=jnp.float32)
