"""How fast the training step is, measured, and what it moves."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
from jax import numpy as jnp

from alexnet_jax.model.summary import summarize
from alexnet_jax.train.collectives import sent_bytes
from alexnet_jax.train.experiment import Experiment
from alexnet_jax.train.parts import DTYPES, image_size

WARM_UP_STEPS = 2
PEAK_SIZE = 4096  # of the square matrices whose product measures what a device can do


def measure_step(run: Experiment, batch: Any, *, steps: int) -> dict[str, Any]:
    """Times the training step on one batch that stays on the devices.

    Args:
      run: What to train. Its initial state is consumed.
      batch: A placed training batch.
      steps: How many steps to time; 0 compiles only, and leaves the times out as None.

    Returns:
      The figures of ``benchmark step``: medians; ``flops_per_image`` counts two operations a multiply-accumulate,
      forward, and backward for inputs and weights; ``model_flops_utilization`` is its share of the rate of a large
      matrix product, measured on the first device in the same precision.
    """
    config = run.config
    compiled = run.train_step.lower(run.initial_state, batch).compile()
    sent = sum(sent_bytes(compiled.as_text(), len(run.devices)).values())
    summary = summarize(
        config.model.variant, image_size=image_size(config), num_classes=config.model.num_classes
    )
    flops_per_image = 3 * 2 * summary.macs
    figures: dict[str, Any] = {
        "variant": config.model.variant,
        "batch_size": config.batch_size,
        "precision": run.precision,
        "parallelism": run.parallelism,
        "devices": len(run.devices),
        "images_per_second": None,
        "step_milliseconds": None,
        "collective_bytes": sent,
        "flops_per_image": flops_per_image,
        "model_flops_utilization": None,
    }
    if steps:
        seconds = _median_seconds(compiled, run.initial_state, batch, steps)
        rate = config.batch_size / seconds
        peak = matrix_product_flops(run.devices[0], DTYPES[run.precision]) * len(run.devices)
        figures |= {
            "images_per_second": rate,
            "step_milliseconds": 1e3 * seconds,
            "model_flops_utilization": rate * flops_per_image / peak,
        }
    return figures


def matrix_product_flops(device: jax.Device, dtype: Any) -> float:
    """Returns the operations a second of a 4096 x 4096 matrix product on ``device``: the best of five."""
    key = jax.random.key(0)
    matrix = jax.device_put(jax.random.normal(key, (PEAK_SIZE, PEAK_SIZE), dtype), device)
    product = jax.jit(jnp.matmul)
    product(matrix, matrix).block_until_ready()
    best = min(_seconds(lambda: product(matrix, matrix)) for _ in range(5))
    return 2 * PEAK_SIZE**3 / best


def _median_seconds(step: Callable[..., Any], state: Any, batch: Any, steps: int) -> float:
    times = []
    for _ in range(WARM_UP_STEPS + steps):
        start = time.perf_counter()
        state, sums = step(state, batch)
        jax.block_until_ready((state, sums))
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARM_UP_STEPS:])


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start
