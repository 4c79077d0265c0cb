"""What a device can do at most, measured, and the time a training step takes at least at that."""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
from jax import numpy as jnp

from alexnet_jax.model.summary import Summary

PRODUCT_SIZE = 4096  # of the square matrices that are multiplied
COPY_BYTES = 256 * 2**20  # more than the caches of a CPU hold
FLOAT32_BYTES = 4

# Times a float32 parameter goes through memory in an update: it, its gradient and its momentum are read, it and its
# momentum written.
UPDATE_ACCESSES = 5


def matrix_product_flops(device: jax.Device, dtype: Any) -> float:
    """Returns the operations a second of a 4096 x 4096 matrix product on ``device``: the best of five."""
    shape = (PRODUCT_SIZE, PRODUCT_SIZE)
    matrix = jax.device_put(jax.random.normal(jax.random.key(0), shape, dtype), device)
    product = jax.jit(jnp.matmul)
    return 2 * PRODUCT_SIZE**3 / _best_seconds(lambda: product(matrix, matrix))


def copy_bytes_per_second(device: jax.Device) -> float:
    """Returns the bytes a second, read and written, of copying 256 MiB on ``device``: the best of five."""
    numbers = jax.random.normal(jax.random.key(0), (COPY_BYTES // FLOAT32_BYTES,))
    numbers = jax.device_put(numbers, device)
    copy = jax.jit(lambda x: x + 1)
    return 2 * COPY_BYTES / _best_seconds(lambda: copy(numbers))


def flops_per_image(summary: Summary) -> int:
    """Returns the operations of training on an image, with convolutions as sums over pixels.

    Two a multiply-accumulate, forward, and backward for inputs and weights.
    """
    return 3 * 2 * summary.macs


def step_bytes(summary: Summary, batch_size: int, activation_bytes: int) -> int:
    """Returns what a training step moves through memory at least.

    The update's accesses to the parameters, in float32, and what each convolution and dense layer puts out, written
    forward and read backward; everything else could stay in caches and registers.

    Args:
      summary: Of the network.
      batch_size: Images on a device.
      activation_bytes: Of one activation.
    """
    activations = sum(math.prod(layer.output_shape) for layer in summary.layers if layer.macs)
    update = UPDATE_ACCESSES * FLOAT32_BYTES * summary.parameters
    return update + 2 * batch_size * activations * activation_bytes


def _best_seconds(call: Callable[[], Any]) -> float:
    jax.block_until_ready(call())
    times = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return min(times)
