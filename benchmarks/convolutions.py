"""Times each convolution of a variant with its gradients, in every way that computes it; see benchmarks.md.

python benchmarks/convolutions.py [--variant torchvision] [--precision float32 bfloat16] [--batch-size 64] [--rounds 9]

In turns, in one process that keeps what is freed, as the trainer does: by XLA, by products over a few images at a time
(in float32 the gradient of the kernel alone, the rest by XLA), and by Fourier transforms. Of the first layer the
images' gradient is not computed, as in training.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
from jax import numpy as jnp

from alexnet_jax import create
from alexnet_jax.backend import memory
from alexnet_jax.model import fast_conv, fourier, layers

Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[Any, ...], dict[str, Any]]


def main() -> None:
    """Prints a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", default="torchvision")
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    memory.keep_freed_memory()
    print(
        f"{options.variant}, batch {options.batch_size}, jax {jax.__version__}, milliseconds;",
        end=" ",
    )
    print("* is what model.layers=fast takes")
    for precision in options.precision:
        for number, geometry in enumerate(convolutions(options.variant, options.batch_size), 1):
            seconds = measure(geometry, precision, options.rounds, first=number == 1)
            cells = (f"{way} {1e3 * value:.0f}" for way, value in seconds.items())
            print(f"{precision} conv{number}:", ", ".join(cells), flush=True)


def convolutions(variant: str, batch_size: int) -> list[Geometry]:
    """Returns the shapes of images and kernel, the strides and padding, and the options of each."""
    found = []

    def record(x: jax.Array, kernel: jax.Array, *geometry: Any, **options: Any) -> jax.Array:
        found.append((x.shape, kernel.shape, geometry, options))
        return layers.convolution(x, kernel, *geometry, **options)

    model = create(variant)
    model.formulation = dataclasses.replace(model.formulation, convolution=record)
    shape = (batch_size, model.image_size, model.image_size, 3)
    jax.eval_shape(model, jax.ShapeDtypeStruct(shape, jnp.float32))
    return found


def measure(geometry: Geometry, precision: str, rounds: int, *, first: bool) -> dict[str, float]:
    """Returns the median seconds of a convolution with its gradients by each way; "*" marks the trainer's."""
    x_shape, kernel_shape, place, options = geometry
    keys = jax.random.split(jax.random.key(0), 3)
    x = jnp.abs(jax.random.normal(keys[0], x_shape, precision))
    kernel = jax.random.normal(keys[1], kernel_shape)
    chosen: list[bool] = []
    pays = fourier.pays

    def spy(*args: Any) -> bool:
        chosen.append(pays(*args))
        return chosen[-1]

    with mock.patch.object(fourier, "pays", spy):
        out = jax.eval_shape(
            lambda x, kernel: fast_conv.convolution(x, kernel, *place, **options), x, kernel
        )
    gradient = jax.random.normal(keys[2], out.shape, precision)

    def compiled(function: Callable[..., jax.Array]) -> Callable[[], Any]:
        def both(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> Any:
            def value(x: jax.Array, kernel: jax.Array) -> jax.Array:
                return function(x, kernel, *place, **options)

            if first:
                y, pullback = jax.vjp(lambda kernel: value(x, kernel), kernel)
            else:
                y, pullback = jax.vjp(value, x, kernel)
            return y, pullback(gradient)

        program = jax.jit(both).lower(x, kernel, gradient).compile()
        return lambda: jax.block_until_ready(program(x, kernel, gradient))

    def by_xla(x: jax.Array, kernel: jax.Array, *place: Any, **options: Any) -> jax.Array:
        return layers.convolution(x, kernel.astype(x.dtype), *place, **options)

    calls = {"xla": compiled(by_xla)}
    for way, decision in (("products", False), ("fourier", True)):
        with mock.patch.object(fourier, "pays", lambda *_, decision=decision: decision):
            taken = "*" if chosen and chosen[0] == decision else ""
            calls[way + taken] = compiled(fast_conv.convolution)
    seconds: dict[str, list[float]] = {way: [] for way in calls}
    for _ in range(rounds + 1):
        for way, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[way].append(time.perf_counter() - start)
    return {way: statistics.median(values[1:]) for way, values in seconds.items()}


if __name__ == "__main__":
    main()
