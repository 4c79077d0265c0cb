"""Convolutions as matrix products, with their gradients: for a CPU, which multiplies matrices at its peak.

Where ``fourier`` says that it pays, which in float32 is nearly everywhere, a convolution is left to it. XLA reaches a
quarter of the peak in the convolutions that are gradients of kernels, and in all of them in bfloat16. So these are
written as products of shifted images with the rows of the kernel, summed in float32. The images are taken a few at a
time, so that what is multiplied stays in the cache. Gradients are of reverse mode only.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

from alexnet_jax.model import fourier, layers

CHUNK_BYTES = 2 << 20  # of the shifted images that are multiplied at a time: they stay in the cache

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
    pixels as channels. Float16, what fits one chunk, and the small maps that do not gain by transforms are left to
    ``layers.convolution``.

    Args:
      x: [batch, height, width, in], float32 or bfloat16.
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
    is_small = math.prod(x.shape[1:3]) <= layers.SMALL_MAP_PIXELS
    is_little = not is_small and _chunks(x, kernel.shape[1], pads) == 1  # XLA is the faster one
    if not is_little and fourier.pays(x.shape, kernel.shape, pads, x.dtype):
        return fourier.convolve(x, kernel, pads)
    if is_small or is_little or x.dtype not in (jnp.float32, jnp.bfloat16):
        return layers.convolution(x, kernel.astype(x.dtype), (1, 1), pads, dimension_numbers=LAYOUT)
    return _convolve(x, kernel, pads)


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
    return _apply(x, kernel.astype(x.dtype), pads)


def _forward(x: jax.Array, kernel: jax.Array, pads: Pads) -> tuple[jax.Array, Residual]:
    return _convolve(x, kernel, pads), (x, kernel)


def _backward(pads: Pads, residual: Residual, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = residual
    reverse = kernel[::-1, ::-1].swapaxes(2, 3).astype(x.dtype)
    around = tuple(
        (size - 1 - low, size - 1 - high)
        for size, (low, high) in zip(kernel.shape[:2], pads, strict=True)
    )
    for_kernel = _kernel_gradient(x, gradient, kernel.shape, pads)
    return _apply(gradient, reverse, around), for_kernel.astype(kernel.dtype)


_convolve.defvjp(_forward, _backward)


def _apply(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """Convolves without stride, by whichever way is the faster on a CPU."""
    chunks = _chunks(x, kernel.shape[1], pads)
    if x.dtype != jnp.bfloat16 or chunks == 1:
        return lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=LAYOUT)
    height, width, _, out = kernel.shape

    def convolve(images: jax.Array) -> jax.Array:
        rows = _rows(images, width, pads)
        out_height = rows.shape[1] - height + 1
        shape = (images.shape[0], out_height, rows.shape[2], out)
        products = (
            _product(
                rows[:, i : i + out_height].reshape(-1, rows.shape[-1]), kernel[i].reshape(-1, out)
            )
            for i in range(height)
        )
        return functools.reduce(jnp.add, products).astype(x.dtype).reshape(shape)

    y = lax.map(convolve, x.reshape(chunks, -1, *x.shape[1:]))
    return y.reshape(x.shape[0], *y.shape[2:])


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, shape: tuple[int, ...], pads: Pads
) -> jax.Array:
    """Returns the gradient of a kernel of ``shape`` in float32."""
    height, width, features, out = shape
    out_height = gradient.shape[1]

    def products(images: jax.Array, gradients: jax.Array) -> jax.Array:
        rows = _rows(images, width, pads)
        shifted = (rows[:, i : i + out_height] for i in range(height))
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
    # Negative where the gradient of a padded image is convolved: what fell on the padding is cut off.
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*pair, 0) for pair in pads), (0, 0, 0)])
    columns = x.shape[2] - width + 1
    return jnp.concatenate([x[:, :, j : j + columns] for j in range(width)], axis=-1)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _chunks(x: jax.Array, width: int, pads: Pads) -> int:
    """Returns the fewest equal parts of a batch whose rows of patches keep to ``CHUNK_BYTES``."""
    batch, *size, features = x.shape
    pixels = math.prod(n + low + high for n, (low, high) in zip(size, pads, strict=True))
    image_bytes = pixels * width * features * x.dtype.itemsize
    parts = (
        n
        for n in range(1, batch + 1)
        if batch % n == 0 and (n == batch or batch // n * image_bytes <= CHUNK_BYTES)
    )
    return next(parts, 1)  # of no images, too
