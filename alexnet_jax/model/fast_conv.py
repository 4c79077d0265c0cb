"""Convolutions whose kernels' gradients are matrix products, a few images at a time.

A CPU multiplies matrices at its peak and reaches a quarter of it in the convolutions that are the gradients of kernels.
So these are written as products with shifted images, summed over chunks of images that stay in the cache. Gradients are
of reverse mode only.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

from alexnet_jax.model import layers

CHUNK_BYTES = 8 << 20  # of the shifted images that are multiplied at a time: about a cache
# Rows of patches are multiplied one row of the kernel at a time, unless they are narrower than this: too narrow a
# product is slow.
NARROW = 256

Pads = tuple[tuple[int, int], ...]  # zero pixels around an image: (top, bottom), (left, right)
LAYOUT = ("NHWC", "HWIO", "NHWC")
Residual = tuple[jax.Array, jax.Array]


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Any,
    *,
    feature_group_count: int = 1,
    **options: Any,
) -> jax.Array:
    """Convolves NHWC with HWIO, as ``layers.convolution`` for the same arguments.

    A convolution in groups is one of each group; one with a stride is one without, of ``stride`` x ``stride`` blocks of
    pixels as channels. Halves, and what fits one chunk, are left to ``layers.convolution``.

    Args:
      x: [batch, height, width, in].
      kernel: [kernel height, kernel width, in / groups, out], in any dtype; its gradient has the same.
      strides: Of the two directions, in pixels; equal.
      padding: "SAME", "VALID" or ((top, bottom), (left, right)), in pixels.
      feature_group_count: Groups.
      **options: Not looked at: the layout is fixed, and nothing is dilated.

    Returns:
      [batch, out height, out width, out], in the input's dtype.
    """
    del options
    if feature_group_count > 1:
        xs = jnp.split(x, feature_group_count, axis=-1)
        kernels = jnp.split(kernel, feature_group_count, axis=-1)
        groups = (convolution(*one, strides, padding) for one in zip(xs, kernels, strict=True))
        return jnp.concatenate(list(groups), axis=-1)
    size = kernel.shape[:2]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], size, strides, padding)
    stride, other = strides
    if stride != other:
        raise ValueError(f"strides={tuple(strides)} differ")
    if stride > 1:
        x, kernel = space_to_depth(x, kernel, stride, padding)
        padding = ((0, 0), (0, 0))
    pads = tuple(tuple(pair) for pair in padding)
    if x.dtype != jnp.float32 or _chunks(x, kernel.shape[1], pads) == 1:
        return layers.convolution(x, kernel.astype(x.dtype), (1, 1), pads, dimension_numbers=LAYOUT)
    return _convolve(x, kernel.astype(x.dtype), pads)


def space_to_depth(
    x: jax.Array, kernel: jax.Array, stride: int, pads: Pads
) -> tuple[jax.Array, jax.Array]:
    """Rewrites a convolution with a stride as one without, of blocks of pixels.

    Args:
      x: [batch, height, width, in].
      kernel: [kernel height, kernel width, in, out].
      stride: In pixels.
      pads: Zero pixels around ``x``.

    Returns:
      x and the kernel with ``stride`` x ``stride`` pixels as channels, both padded to whole blocks. Their convolution
      without stride and padding is that of the arguments.
    """
    batch, channels, out = x.shape[0], x.shape[-1], kernel.shape[-1]
    kernel_blocks = [-(-size // stride) for size in kernel.shape[:2]]
    blocks, edges = [], []
    for size, (low, high), width, count in zip(
        x.shape[1:3], pads, kernel.shape[:2], kernel_blocks, strict=True
    ):
        blocks.append((size + low + high - width) // stride + count)
        edges.append((low, blocks[-1] * stride - size - low, 0))  # negative where pixels are unused
    rows, columns = blocks
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    x = x.reshape(batch, rows, stride, columns, stride * channels)
    x = jnp.concatenate([x[:, :, row] for row in range(stride)], axis=-1)

    rows, columns = kernel_blocks
    ends = [(0, n * stride - size) for n, size in zip(kernel_blocks, kernel.shape[:2], strict=True)]
    kernel = jnp.pad(kernel, (*ends, (0, 0), (0, 0)))
    kernel = kernel.reshape(rows, stride, columns, stride, channels, out)
    return x, kernel.transpose(0, 2, 1, 3, 4, 5).reshape(rows, columns, -1, out)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=LAYOUT)


def _forward(x: jax.Array, kernel: jax.Array, pads: Pads) -> tuple[jax.Array, Residual]:
    return _convolve(x, kernel, pads), (x, kernel)


def _backward(pads: Pads, residual: Residual, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = residual
    around = [
        (size - 1 - low, size - 1 - high)
        for size, (low, high) in zip(kernel.shape[:2], pads, strict=True)
    ]
    reverse = kernel[::-1, ::-1].swapaxes(2, 3)
    for_x = lax.conv_general_dilated(gradient, reverse, (1, 1), around, dimension_numbers=LAYOUT)
    return for_x, _kernel_gradient(x, gradient, kernel.shape, pads)


_convolve.defvjp(_forward, _backward)


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, shape: tuple[int, ...], pads: Pads
) -> jax.Array:
    """Returns the gradient of a kernel of ``shape`` in float32."""
    height, width, features, out = shape
    out_height = gradient.shape[1]

    def products(images: jax.Array, gradients: jax.Array) -> jax.Array:
        rows = _rows(images, width, pads)
        shifted = [rows[:, i : i + out_height] for i in range(height)]
        if rows.shape[-1] < NARROW:
            shifted = [jnp.concatenate(shifted, axis=-1)]
        parts = [_product(gradients, part.reshape(-1, part.shape[-1])) for part in shifted]
        return jnp.concatenate(parts, axis=1)

    def add(total: jax.Array, chunk: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return total + products(*chunk), None

    chunks = _chunks(x, width, pads)
    # Transposed before the loop: a product with a transposed left side is several times slower than one without.
    gradients = gradient.reshape(chunks, -1, out).swapaxes(1, 2)
    total = jnp.zeros((out, height * width * features), jnp.float32)
    total, _ = lax.scan(add, total, (x.reshape(chunks, -1, *x.shape[1:]), gradients))
    return total.T.reshape(shape)


def _rows(x: jax.Array, width: int, pads: Pads) -> jax.Array:
    """Returns, padded, at every pixel the ``width`` pixels from there: [batch, rows, columns, width * in]."""
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    columns = x.shape[2] - width + 1
    return jnp.concatenate([x[:, :, j : j + columns] for j in range(width)], axis=-1)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _chunks(x: jax.Array, width: int, pads: Pads) -> int:
    """Returns the fewest equal parts of a batch whose rows of patches keep to ``CHUNK_BYTES``."""
    batch, *size, features = x.shape
    pixels = math.prod(n + low + high for n, (low, high) in zip(size, pads, strict=True))
    image_bytes = pixels * width * features * x.dtype.itemsize
    return next(
        n
        for n in range(1, batch + 1)
        if batch % n == 0 and (n == batch or batch // n * image_bytes <= CHUNK_BYTES)
    )
