"""ReLU and max pooling in one, which remembers, in one byte a window, which pixel won.

The gradient of ``lax.reduce_window`` looks through every window again and scatters (select-and-scatter, on a CPU one
window after the other). Here every input pixel looks up the few windows that cover it instead: plain arithmetic, which
a compiler makes one loop of. Barriers keep that loop its own, as one with what reads the result goes in another order
and computes it more than once; XLA of jax 0.10 does not look at them on a CPU. The results are the same to the bit
where one window covers a pixel; where several do, up to the order in which their gradients are added. Gradients are of
reverse mode only.
"""

import functools
import itertools
from typing import NamedTuple

import jax
from jax import lax
from jax import numpy as jnp

from alexnet_jax.model.fast_relu import feature_sums

NOBODY = 255  # in the place of a winner, where the gradient ends: the ReLU is off
ROW = 16  # a winner is ROW * its row in the window + its column

Residual = tuple[jax.Array, jax.Array | None]


class _Geometry(NamedTuple):
    """What the backward pass knows of the input without holding it."""

    height: int
    width: int
    window: int
    stride: int


def relu_max_pool(x: jax.Array, bias: jax.Array | None, window: int, stride: int) -> jax.Array:
    """Computes ``max_pool(relu(x + bias))`` in one pass over ``x``.

    Args:
      x: [batch, height, width, channels].
      bias: [channels] in the dtype of ``x``; None for none.
      window: Height and width of the pooled region, in pixels; less than 16.
      stride: Pixels between two regions.
    """
    return _pool(x, bias, _Geometry(x.shape[1], x.shape[2], window, stride))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _pool(x: jax.Array, bias: jax.Array | None, geometry: _Geometry) -> jax.Array:
    return _forward(x, bias, geometry)[0]


def _forward(
    x: jax.Array, bias: jax.Array | None, geometry: _Geometry
) -> tuple[jax.Array, Residual]:
    dtype = x.dtype
    # Compared in float32, in which halves are exact: a CPU computes in it anyway, and would convert at every step.
    x = (x if bias is None else x + bias).astype(jnp.float32)
    height, width, window, stride = geometry

    def pixels(row: int, column: int) -> jax.Array:
        """Returns that pixel of every window."""
        stops = (row + height - window + 1, column + width - window + 1)
        return x[:, row : stops[0] : stride, column : stops[1] : stride]

    # The maximum is NaN where any pixel is; the gradient goes to `selected`, the first of the largest pixels after the
    # last NaN, as select-and-scatter has it. Without NaN both are the same.
    maximum = selected = pixels(0, 0)
    winner = jnp.zeros(selected.shape, jnp.uint8)
    for row, column in itertools.islice(itertools.product(range(window), repeat=2), 1, None):
        pixel = pixels(row, column)
        stays = selected >= pixel
        selected = jnp.where(stays, selected, pixel)
        winner = jnp.where(stays, winner, jnp.uint8(ROW * row + column))
        maximum = jnp.maximum(maximum, pixel)
    winner = lax.optimization_barrier(jnp.where(selected > 0, winner, jnp.uint8(NOBODY)))
    return jnp.maximum(maximum, 0).astype(dtype), (winner, bias)


def _backward(
    geometry: _Geometry, residual: Residual, gradient: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    winner, bias = residual
    height, width, window, stride = geometry
    # The input in blocks of stride x stride pixels: what covers a block begins there or up to `reach` blocks before.
    blocks = (-(-height // stride), -(-width // stride))
    reach = (window - 1) // stride
    pads = [(0, 0), *((reach, n - size) for n, size in zip(blocks, winner.shape[1:3], strict=True))]
    winners = jnp.pad(winner, [*pads, (0, 0)], constant_values=NOBODY)
    gradients = jnp.pad(gradient.astype(jnp.float32), [*pads, (0, 0)])
    place = jnp.arange(stride, dtype=jnp.uint8)
    places = ROW * place[:, None, None, None] + place[:, None]

    def per_pixel(per_window: jax.Array, up: int, left: int) -> jax.Array:
        """Returns, for the pixels of every block, what the window says that begins so many blocks before."""
        first = (reach - up, reach - left)
        cut = per_window[:, first[0] : first[0] + blocks[0], first[1] : first[1] + blocks[1]]
        return cut[:, :, None, :, None]

    total: jax.Array | float = 0.0
    for up, left in itertools.product(range(reach + 1), repeat=2):
        wins = per_pixel(winners, up, left) == places + jnp.uint8(stride * (ROW * up + left))
        total += jnp.where(wins, per_pixel(gradients, up, left), 0.0)
    batch, channels = gradient.shape[0], gradient.shape[-1]
    total = jnp.reshape(total, (batch, blocks[0] * stride, blocks[1] * stride, channels))
    for_x = lax.optimization_barrier(total[:, :height, :width].astype(gradient.dtype))
    if bias is None:
        return for_x, None
    kept = jnp.where(winner == NOBODY, jnp.zeros_like(gradient), gradient)
    return for_x, feature_sums(kept).astype(bias.dtype)


_pool.defvjp(_forward, _backward)
