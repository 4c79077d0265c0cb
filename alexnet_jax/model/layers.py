"""The operations of AlexNet that have no parameters. Images are NHWC."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp


def max_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    """Max pooling without padding.

    Args:
      x: [batch, height, width, channels].
      window: Height and width of the pooled region, in pixels. Overlapping where it exceeds ``stride``
        (section 3.4 of the 2012 paper).
      stride: Pixels between two regions.

    Returns:
      [batch, (height - window) // stride + 1, (width - window) // stride + 1, channels].
    """
    shape, strides = (1, window, window, 1), (1, stride, stride, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, shape, strides, "VALID")


# Maps up to this many pixels, 4 x 4, are convolved as one matrix product. XLA's convolutions are made for large maps:
# on a CPU they take 15 to 20 times as long as a product of patches for 64 images of 2 x 2 to 4 x 4 pixels, and become
# the faster ones from 8 x 8.
SMALL_MAP_PIXELS = 16


def convolution(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Any, **options: Any
) -> jax.Array:
    """Convolves NHWC with HWIO: ``lax.conv_general_dilated``, or one matrix product where the map is small.

    Args:
      x: [batch, height, width, in].
      kernel: [kernel height, kernel width, in / groups, out].
      strides: Of the two directions, in pixels.
      padding: "SAME", "VALID" or ((top, bottom), (left, right)), in pixels.
      **options: The others of ``lax.conv_general_dilated``.

    Returns:
      [batch, out height, out width, out], in the input's dtype.
    """
    groups = options.get("feature_group_count", 1)
    if x.shape[1] * x.shape[2] > SMALL_MAP_PIXELS or groups > 1 or max(strides) > 1:
        return lax.conv_general_dilated(x, kernel, strides, padding, **options)
    (batch, *size), window, out = x.shape[:3], kernel.shape[:2], kernel.shape[-1]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(size, window, strides, padding)
    out_height, out_width = (
        n + low + high - width + 1
        for n, (low, high), width in zip(size, padding, window, strict=True)
    )
    if multiplies_whole_images(size, window):
        weights = _kernel_at_every_pixel(kernel, size, padding)
        rows = x.reshape(batch, math.prod(x.shape[1:]))
    else:
        padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
        patches = [
            padded[:, i : i + out_height, j : j + out_width]
            for i in range(window[0])
            for j in range(window[1])
        ]
        weights = kernel.reshape(-1, out)
        rows = jnp.concatenate(patches, axis=-1)
    products = jnp.matmul(rows, weights, preferred_element_type=jnp.float32)
    return products.astype(x.dtype).reshape(batch, out_height, out_width, out)


def multiplies_whole_images(size: Sequence[int], window: Sequence[int]) -> bool:
    """Whether small maps are multiplied whole, not as patches: where the kernel has more pixels.

    Args:
      size: Height and width of the maps, in pixels.
      window: Of the kernel.
    """
    return math.prod(size) < math.prod(window)


def _kernel_at_every_pixel(
    kernel: jax.Array, size: Sequence[int], padding: Sequence[tuple[int, int]]
) -> jax.Array:
    """Returns the matrix that a convolution without stride multiplies whole images of ``size`` pixels with.

    Where the kernel has more pixels than the image, the matrix has fewer rows than patches have pixels, most of which
    are padding.

    Args:
      kernel: [kernel height, kernel width, in, out].
      size: Height and width of the images, in pixels.
      padding: ((top, bottom), (left, right)), in pixels.

    Returns:
      [height * width * in, out height * out width * out].
    """

    def edges(axis: int) -> list[tuple[int, int, int]]:
        """Returns, for every output, how many pixels the image has before and behind the kernel there."""
        (low, high), pixels, width = padding[axis], size[axis], kernel.shape[axis]
        outputs = pixels + low + high - width + 1
        return [(at - low, pixels + low - at - width, 0) for at in range(outputs)]  # or fewer: < 0

    zero, whole = jnp.zeros((), kernel.dtype), (0, 0, 0)
    kernels = [
        lax.pad(kernel, zero, (rows, columns, whole, whole))
        for rows, columns in itertools.product(edges(0), edges(1))
    ]
    matrix = jnp.stack(kernels, axis=3)
    return matrix.reshape(math.prod(size) * kernel.shape[2], -1)


def local_response_norm(
    x: jax.Array, *, k: float = 2.0, n: int = 5, alpha: float = 1e-4, beta: float = 0.75
) -> jax.Array:
    """Local response normalisation across channels: ``x / (k + alpha * sum of x² over n channels) ** beta``.

    Section 3.3 of the 2012 paper, with its constants. ``alpha`` multiplies the *sum*; PyTorch's and Caffe's layers
    multiply the mean, so their ``alpha`` is ``n`` times this one.

    Args:
      x: [..., channels].
      k: Added constant.
      n: Neighbouring channels in the sum, centred on each channel and cut at the ends.
      alpha: Weight of the sum.
      beta: Exponent.

    Returns:
      Same shape and dtype; computed in float32.
    """
    ones = (1,) * (x.ndim - 1)
    squares = jnp.square(x.astype(jnp.float32))
    sums = lax.reduce_window(squares, 0.0, lax.add, (*ones, n), (*ones, 1), "SAME")
    return (x / (k + alpha * sums) ** beta).astype(x.dtype)


def adaptive_average_pool(x: jax.Array, size: int) -> jax.Array:
    """Average pooling to ``size`` x ``size`` whatever the input size, over the same regions as PyTorch's.

    Output i averages the inputs from floor(i * n / size) to ceil((i + 1) * n / size), of n. As this is linear in
    each direction, it is written as two small matrix products.

    Args:
      x: [batch, height, width, channels].
      size: Output height and width, in pixels.

    Returns:
      [batch, size, size, channels], in the input's dtype.
    """
    height, width = x.shape[1:3]
    if (height, width) == (size, size):
        return x
    rows, columns = averaging(height, size), averaging(width, size)
    pooled = jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x.astype(jnp.float32))
    return pooled.astype(x.dtype)


@functools.cache
def averaging(n: int, size: int) -> np.ndarray:
    """Returns the [size, n] float32 matrix that averages n inputs into ``size`` adaptive regions."""
    matrix = np.zeros((size, n), np.float32)
    for i in range(size):
        start, stop = i * n // size, -(-(i + 1) * n // size)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


def dropout(x: jax.Array, rate: float, keys: jax.Array) -> jax.Array:
    """Zeroes each unit with probability ``rate`` and scales the rest by ``1 / (1 - rate)``.

    Args:
      x: [batch, features].
      rate: Probability in [0, 1). Where it is not a multiple of 1/256, it is rounded to one of 1/65536.
      keys: [batch] PRNG keys, one an example, so that an example's mask does not depend on its neighbours.

    Returns:
      Same shape and dtype.
    """
    if rate == 0:
        return x
    bits = 8 if (rate * 256).is_integer() else 16  # a unit; bernoulli draws 32
    drawn = jax.vmap(lambda key: _random_bits(key, x.shape[1], bits))(keys)
    kept = drawn >= min(round(rate * 2**bits), 2**bits - 1)
    return jnp.where(kept, x / (1 - rate), jnp.zeros_like(x))


def _random_bits(key: jax.Array, size: int, bits: int) -> jax.Array:
    """Returns [size] uniform integers of 8 or 16 bits, cut from words of 32 that are all used.

    jax.random.bits draws a word for each of them.
    """
    words = jax.random.bits(key, (-(-size * bits // 32),), jnp.uint32)
    return lax.bitcast_convert_type(words, jnp.dtype(f"uint{bits}")).reshape(-1)[:size]
