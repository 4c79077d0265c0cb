"""Convolutions of 3 x 3 pixels without stride, with 16 multiplications for 4 outputs where the sum over pixels has 36.

Winograd's F(2 x 2, 3 x 3): Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), section 4.1. A
tile of 2 x 2 outputs reads 4 x 4 inputs; inputs and kernel are transformed, multiplied at each of the 16 places, and
transformed back. What is costly is 16 matrix products.

The transformations add and halve, so the result differs from the sum over pixels by a few roundings. That is for
float32: in bfloat16 the sums of inputs would be rounded too.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

SIZE = 3  # of the kernel
TILE = 2  # outputs of a tile, in one direction
REACH = TILE + SIZE - 1  # inputs of a tile

# What inputs, kernel and products are multiplied with in one direction: the paper's B', G and A', ' for transposed.
OF_INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
OF_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
OF_PRODUCT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])

Pads = Sequence[tuple[int, int]]  # zero pixels around an image: (top, bottom), (left, right)
Grid = list[list[jax.Array]]  # by row and column of a tile, or of the kernel


def convolve(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """Convolves.

    Args:
      x: [batch, height, width, in], float32.
      kernel: [3, 3, in, out], float32.
      pads: Zero pixels around ``x``.

    Returns:
      [batch, out height, out width, out].
    """
    out = kernel.shape[-1]
    height, width = (
        size + low + high - SIZE + 1 for size, (low, high) in zip(x.shape[1:3], pads, strict=True)
    )
    rows, columns = _tiles(height), _tiles(width)
    kernels = _transform(OF_KERNEL, [list(line) for line in kernel])
    products = _multiply(_transformed_inputs(x, pads, rows, columns), kernels, 1)
    lines = [
        jnp.stack([pixels.reshape(-1, rows, columns, out) for pixels in line], axis=3)
        for line in _transform(OF_PRODUCT, products)
    ]
    y = jnp.stack(lines, axis=2).reshape(-1, rows * TILE, columns * TILE, out)
    return y[:, :height, :width]


def kernel_gradient(x: jax.Array, gradient: jax.Array, pads: Pads) -> jax.Array:
    """Returns the gradient of the kernel, [3, 3, in, out], from that of the output.

    Args:
      x: The convolution's input, [batch, height, width, in], float32.
      gradient: Of its output, [batch, out height, out width, out], float32.
      pads: Zero pixels around ``x``.
    """
    height, width = gradient.shape[1:3]
    rows, columns = _tiles(height), _tiles(width)
    edges = ((0, 0), (0, rows * TILE - height), (0, columns * TILE - width), (0, 0))
    gradients = _transform(OF_PRODUCT.T, _cut(jnp.pad(gradient, edges), TILE, rows, columns))
    products = _multiply(_transformed_inputs(x, pads, rows, columns), gradients, 0)
    return jnp.stack([jnp.stack(line) for line in _transform(OF_KERNEL.T, products)])


def _tiles(size: int) -> int:
    return -(-size // TILE)


def _transformed_inputs(x: jax.Array, pads: Pads, rows: int, columns: int) -> Grid:
    """Returns what all tiles read, which overlaps, transformed."""
    edges = [
        (low, (count + 1) * TILE - size - low, 0)  # negative where pixels are unused
        for size, (low, _), count in zip(x.shape[1:3], pads, (rows, columns), strict=True)
    ]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    return _transform(OF_INPUT, _cut(x, REACH, rows, columns))


def _cut(x: jax.Array, size: int, rows: int, columns: int) -> Grid:
    """Returns at each place of a tile of ``size`` x ``size`` pixels all tiles, [batch * rows * columns, features]."""
    batch, height, width, features = x.shape
    x = x.reshape(batch, height // TILE, TILE, width // TILE, TILE, features)

    def place(i: int, j: int) -> jax.Array:
        row, column = i // TILE, j // TILE
        cut = x[:, row : row + rows, i % TILE, column : column + columns, j % TILE]
        return cut.reshape(-1, features)

    return [[place(i, j) for j in range(size)] for i in range(size)]


def _transform(matrix: np.ndarray, grid: Grid) -> Grid:
    """Returns ``matrix @ grid @ matrix.T``, as sums in which zeros cost nothing."""
    above = [[_sum(row, column) for column in zip(*grid, strict=True)] for row in matrix]
    return [[_sum(row, line) for row in matrix] for line in above]


def _sum(factors: np.ndarray, arrays: Sequence[jax.Array]) -> jax.Array:
    terms = [
        x if factor == 1 else x * factor.item()
        for factor, x in zip(factors, arrays, strict=True)
        if factor
    ]
    return sum(terms[1:], start=terms[0])


def _multiply(one: Grid, other: Grid, axis: int) -> Grid:
    """Multiplies, at each place, over an axis of the one and the rows of the other."""

    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        contracted = (((axis,), (0,)), ((), ()))
        return lax.dot_general(a, b, contracted, preferred_element_type=jnp.float32)

    return [
        [product(a, b) for a, b in zip(*lines, strict=True)]
        for lines in zip(one, other, strict=True)
    ]
