"""Convolutions without stride as products of Fourier transforms, for a CPU: a fraction of the multiplications.

A convolution of maps is, at every frequency of their Fourier transforms, one matrix product over the features: Mathieu,
Henaff and LeCun, "Fast Training of Convolutional Networks through FFTs" (2014). Maps this small are transformed by
matrix products too, first their columns, then their rows; a complex product is three real ones (Gauss). So all that is
costly is matrix products, and what is before and behind those of the features is linear: the gradients that JAX derives
are of the same form.

A large map is cut into tiles, which overlap by the kernel. All is computed in float32 whatever the dtype. A result
differs from the sum over pixels by a few roundings of the largest sum of absolute values in its tile, and a pixel that
is not finite makes all of its tile so.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from alexnet_jax.model import layers

MAX_TILES = 16  # in one direction

# Of a complex product's factors, and of its result, as sums of (real part, imaginary part): of the three real products
# p, q and r of what the first two say, the real part is p - r and the imaginary part p + q.
OF_INPUT = np.array([[1, 1], [1, 0], [0, 1]])
OF_KERNEL = np.array([[1, 0], [-1, 1], [1, 1]])
OF_PRODUCT = np.array([[1, 0, -1], [1, 1, 0]])

# Measured on a CPU, in multiplications of a transform: one of the many small products of the features; a number that is
# written to memory and read again; one of a sum over pixels, which are cheap in bfloat16, and in float32 are not, as
# XLA is far from the peak in the gradients of kernels; and one of the product that a small map takes in its place.
PRODUCT = 2
MOVE = 40
OVER_PIXELS = {"float32": 2.2, "bfloat16": 0.6}
OVER_SMALL_MAPS = {"float32": 1.5, "bfloat16": 2.0}

Pads = tuple[tuple[int, int], ...]  # zero pixels around an image: (top, bottom), (left, right)


class _Axis(NamedTuple):
    """How one direction of a map is transformed; in pixels.

    Attributes:
      tiles: Parts of the map.
      read: By one tile.
      before: Zeros before the first that is read, where the only tile has them without reading them.
      written: By one tile.
      kernel: The kernel's size.
      length: Period of the transform.
    """

    tiles: int
    read: int
    before: int
    written: int
    kernel: int
    length: int


class _Matrices(NamedTuple):
    """The transforms in each direction, float32: along a row first for what goes in, last for what comes out."""

    input_columns: np.ndarray
    input_rows: np.ndarray
    kernel_columns: np.ndarray
    kernel_rows: np.ndarray
    output_rows: np.ndarray
    output_columns: np.ndarray


def pays(shape: tuple[int, ...], kernel: tuple[int, ...], pads: Pads, dtype: Any) -> bool:
    """Whether training is expected to be the faster this way on a CPU: by the number of multiplications.

    Of a large map of few features it is the kernel's gradient that gains.

    Args:
      shape: Of the images, [batch, height, width, in].
      kernel: Its shape, [kernel height, kernel width, in, out].
      pads: Zero pixels around the images.
      dtype: What the layers compute in.
    """
    name = jnp.dtype(dtype).name
    if name not in OVER_PIXELS:
        return False
    size, window = shape[1:3], kernel[:2]
    outputs = [
        n + low + high - width + 1 for n, (low, high), width in zip(size, pads, window, strict=True)
    ]
    if min(outputs) < 1:
        return False
    each, sums = OVER_PIXELS[name], shape[0] * math.prod(outputs) * math.prod(kernel)
    if math.prod(size) <= layers.SMALL_MAP_PIXELS:
        each = OVER_SMALL_MAPS[name]
        if layers.multiplies_whole_images(size, window):
            matrix = math.prod(size) * math.prod(outputs) * math.prod(kernel[2:])
            sums = (shape[0] + MOVE) * matrix  # which is written first
    return _cost(shape, kernel, _axes(shape, kernel, pads)) < each * sums


def convolve(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """Convolves.

    Args:
      x: [batch, height, width, in].
      kernel: [kernel height, kernel width, in, out].
      pads: Zero pixels around ``x``; negative where pixels are cut off.

    Returns:
      [batch, out height, out width, out], in the dtype of ``x``; computed in float32.
    """
    axes = rows, columns = _axes(x.shape, kernel.shape, pads)
    matrices = _matrices(rows, columns)
    height, width = (
        n + low + high - size + 1
        for n, (low, high), size in zip(x.shape[1:3], pads, kernel.shape[:2], strict=True)
    )
    inputs, outs = kernel.shape[2:]

    # Cut when it is there: XLA would compute what ``x`` comes of in the order of the tiles.
    tiles = _cut(lax.optimization_barrier(x).astype(jnp.float32), pads, axes)
    products = _multiply(
        _transform(tiles, matrices.input_columns, matrices.input_rows).reshape(
            -1, tiles.shape[2], inputs
        ),
        _transform(
            kernel.astype(jnp.float32), matrices.kernel_columns, matrices.kernel_rows
        ).reshape(-1, inputs, outs),
    )
    y = _multiply(matrices.output_rows, products.reshape(matrices.output_rows.shape[1], -1))
    y = y.reshape(rows.written, matrices.output_columns.shape[1], -1)
    y = _multiply(_for_each(matrices.output_columns, rows.written), y)
    y = y.reshape(rows.written, columns.written, rows.tiles, columns.tiles, x.shape[0], outs)
    y = y.transpose(4, 2, 0, 3, 1, 5).reshape(
        x.shape[0], rows.tiles * rows.written, columns.tiles * columns.written, outs
    )
    return y[:, :height, :width].astype(x.dtype)


def _cut(x: jax.Array, pads: Pads, axes: tuple[_Axis, _Axis]) -> jax.Array:
    """Returns [tile height, tile width, row tiles * column tiles * batch, in]."""
    x = x.transpose(1, 2, 0, 3)
    edges = []
    for size, (low, _), axis in zip(x.shape[:2], pads, axes, strict=True):
        low -= axis.before
        edges.append((low, (axis.tiles - 1) * axis.written + axis.read - size - low, 0))
    x = lax.pad(x, jnp.zeros((), x.dtype), (*edges, (0, 0, 0), (0, 0, 0)))
    rows, columns = axes
    x = jnp.stack([x[i * rows.written :][: rows.read] for i in range(rows.tiles)], axis=2)
    x = jnp.stack(
        [x[:, j * columns.written :][:, : columns.read] for j in range(columns.tiles)], axis=3
    )
    return x.reshape(*x.shape[:2], -1, x.shape[-1])


def _transform(x: jax.Array, of_columns: np.ndarray, of_rows: np.ndarray) -> jax.Array:
    """Returns the three sums of [height, width, ...] at every frequency, [3 * of a column, of a row * ...]."""
    height, width = x.shape[:2]
    x = _multiply(_for_each(of_columns, height), x.reshape(height, width, -1))
    return _multiply(of_rows, x.reshape(of_rows.shape[1], -1))


def _for_each(matrix: np.ndarray, count: int) -> np.ndarray:
    return np.broadcast_to(matrix, (count, *matrix.shape))


def _multiply(a: jax.Array | np.ndarray, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


@functools.cache
def _matrices(rows: _Axis, columns: _Axis) -> _Matrices:
    """Returns the transforms. A row, which is real, has half the frequencies: the others are conjugates."""
    frequencies = columns.length // 2 + 1

    def of_row(size: int) -> np.ndarray:
        """Returns [frequency, pixel]."""
        return _waves(np.arange(frequencies), np.arange(size), columns.length)

    def of_column(waves: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """Returns [sum * frequency, pixel * part] from [frequency, pixel]."""
        return np.einsum("sp,puiq->suiq", sums, _real(waves)).reshape(
            len(sums) * waves.shape[0], -1
        )

    places = [np.arange(axis.written) - axis.before for axis in (rows, columns)]
    column_waves = _waves(np.arange(rows.length), np.arange(rows.read), rows.length).conj()
    kernel_waves = _waves(np.arange(rows.length), np.arange(rows.kernel), rows.length)
    output_waves = _waves(places[0], np.arange(rows.length), rows.length) / rows.length
    to_output = np.einsum("piuq,qs->ipsu", _real(output_waves), OF_PRODUCT)

    waves = _waves(places[1], np.arange(frequencies), columns.length) / columns.length
    alone = 2 * np.arange(frequencies) % columns.length == 0  # without a conjugate
    waves *= np.where(alone, 1, 2)
    input_waves, kernel_row = of_row(columns.read).conj(), of_row(columns.kernel)
    matrices = _Matrices(
        input_columns=np.concatenate([input_waves.real, input_waves.imag]),
        input_rows=of_column(column_waves, OF_INPUT),
        kernel_columns=np.concatenate([kernel_row.real, kernel_row.imag]),
        kernel_rows=of_column(kernel_waves, OF_KERNEL),
        output_rows=to_output.reshape(2 * rows.written, -1),
        output_columns=np.concatenate([waves.real, -waves.imag], axis=1),
    )
    return _Matrices(*(matrix.astype(np.float32) for matrix in matrices))


def _waves(a: np.ndarray, b: np.ndarray, length: int) -> np.ndarray:
    return np.exp(2j * np.pi / length * (np.outer(a, b) % length))


def _real(matrix: np.ndarray) -> np.ndarray:
    """Returns a complex [a, b] matrix as a real one of parts, [part, a, b, part]."""
    a, b = matrix.real, matrix.imag
    return np.stack([np.stack([a, -b], -1), np.stack([b, a], -1)])


@functools.cache
def _axes(shape: tuple[int, ...], kernel: tuple[int, ...], pads: Pads) -> tuple[_Axis, _Axis]:
    """Returns the cut into equal tiles that costs least."""
    height, width = (
        [_axis(*direction, tiles) for tiles in range(1, MAX_TILES + 1)]
        for direction in zip(shape[1:3], pads, kernel[:2], strict=True)
    )
    cuts = ((rows, columns) for rows in height for columns in width)
    return min(cuts, key=lambda axes: _cost(shape, kernel, axes))


def _axis(size: int, pads: tuple[int, int], kernel: int, tiles: int) -> _Axis:
    low, high = pads
    outputs = size + low + high - kernel + 1
    if tiles == 1 and min(pads) >= 0:  # zeros on one side are, by the period, those on the other
        return _Axis(1, size, low, outputs, kernel, size + max(low, high))
    written = -(-outputs // tiles)
    read = written + kernel - 1
    return _Axis(tiles, read, 0, written, kernel, read)


def _cost(shape: tuple[int, ...], kernel: tuple[int, ...], axes: tuple[_Axis, _Axis]) -> int:
    """Returns how many multiplications a convolution takes, or costs by what it writes between them."""
    rows, columns = axes
    parts = 2 * (columns.length // 2 + 1)  # of a row
    frequencies = 3 * rows.length * parts // 2
    inputs, outputs = kernel[2:]

    def transform(height: int, width: int) -> int:
        multiplications = height * parts * width + frequencies * 2 * height
        return multiplications + MOVE * (height * width + height * parts + frequencies)

    a_tile = (
        inputs * transform(rows.read, columns.read)
        + outputs * transform(rows.written, columns.written)
        + PRODUCT * frequencies * inputs * outputs
    )
    a_kernel = transform(rows.kernel, columns.kernel)
    return shape[0] * rows.tiles * columns.tiles * a_tile + inputs * outputs * a_kernel
