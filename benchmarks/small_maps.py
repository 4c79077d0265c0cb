"""Times lax convolutions against products of patches on small maps; see benchmarks.md."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from alexnet_jax.model import layers

LAYERS = ((4, 64, 192, 5), (2, 192, 384, 3), (2, 384, 256, 3), (8, 64, 192, 3), (13, 192, 384, 3))
BATCH, ROUNDS = 64, 7


def main() -> None:
    """Prints milliseconds: forward, then both gradients, by lax and by product."""
    generator = np.random.default_rng(0)
    for size, features, out, width in LAYERS:
        x = generator.standard_normal((BATCH, size, size, features), np.float32)
        kernel = generator.standard_normal((width, width, features, out), np.float32)
        times = []
        for limit in (0, size * size):  # 0 pixels: always lax
            layers.SMALL_MAP_PIXELS = limit
            jax.clear_caches()
            times += [milliseconds(forward, x, kernel), milliseconds(gradients, x, kernel)]
        print(f"{width} x {width}, {size} x {size} pixels, {features} to {out}:", *times)


def forward(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves."""
    return layers.convolution(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def gradients(x: jax.Array, kernel: jax.Array) -> Any:
    """Returns the gradients of the sum of squares with respect to both."""
    return jax.grad(lambda *both: (forward(*both) ** 2).sum(), argnums=(0, 1))(x, kernel)


def milliseconds(function: Callable[..., Any], *arguments: Any) -> float:
    """Returns the median time of a compiled call."""
    compiled = jax.jit(lambda *values: function(*values))
    jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(times), 1)


if __name__ == "__main__":
    main()
