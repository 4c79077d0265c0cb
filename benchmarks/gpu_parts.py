"""Layers, augmentation, transfer and a profile for gpu_report.py."""

import functools
import gzip
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from gpu_formulations import NAMES
from gpu_steps import DTYPES, NORMALIZATION, Request, _running, batch_of
from jax import numpy as jnp

from alexnet_jax.model.formulations import FORMULATIONS
from alexnet_jax.model.variants import Conv, get_variant
from alexnet_jax.randomness import example_keys
from alexnet_jax.train import ceilings
from alexnet_jax.train.augment import Augmentation, Transform
from alexnet_jax.train.crop import RandomResizedCrop
from alexnet_jax.train.timing import median_seconds

LAYOUT = ("NHWC", "HWIO", "NHWC")
PACKED_FACTOR = 8 / 7  # packed images are 256 pixels for an input of 224
KERNELS_SHOWN = 25


def time_layers(request: Request, batch_size: int, precision: str) -> list[dict[str, Any]]:
    """Times every layer and its gradients, all formulations in turns, beside its two floors."""
    peak = ceilings.matrix_product_flops(request.device, DTYPES[precision])
    copied = ceilings.copy_bytes_per_second(request.device)
    rows = []
    for name, macs, make, shapes in _layers(request, batch_size):
        keys = jax.random.split(jax.random.key(0), len(shapes))
        arguments = [
            jax.random.normal(key, shape, DTYPES[precision]) / math.sqrt(math.prod(shape[:-1]))
            for key, shape in zip(keys, shapes, strict=True)
        ]
        arguments = jax.device_put(arguments, request.device)
        calls = {
            f"{layers}, {part}": _call(make(FORMULATIONS[layers]), arguments, gradients=backward)
            for layers in NAMES
            for part, backward in (("forward", False), ("both", True))
        }
        moved = sum(array.nbytes for array in arguments)
        for label, seconds in median_seconds(calls, request.rounds).items():
            layers, part = label.split(", ")
            passes = 3 if part == "both" else 1
            rows.append(
                {
                    "layer": name,
                    "batch_size": batch_size,
                    "precision": precision,
                    "layers": layers,
                    "part": part,
                    "milliseconds": 1e3 * seconds,
                    "arithmetic_floor_milliseconds": 2e3 * passes * batch_size * macs / peak,
                    "bandwidth_floor_milliseconds": 1e3 * passes * moved / copied,
                }
            )
    return rows


def _layers(request: Request, batch: int) -> Any:
    """Yields (name, multiply-accumulates an image, formulation -> function, shapes of its arguments)."""
    variant = get_variant(request.variant)
    channels, size = 3, request.image_size
    for number, row in enumerate(variant.convolutions, start=1):
        pads = row.padding if isinstance(row.padding, str) else ((row.padding,) * 2,) * 2
        convolve = functools.partial(_convolution, row, pads)
        kernel = (row.kernel, row.kernel, channels // row.groups, row.features)
        shapes = [(batch, size, size, channels), kernel]
        x, weights = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
        out = jax.eval_shape(convolve(FORMULATIONS["plain"]), x, weights).shape
        yield f"conv{number}", out[1] * out[2] * math.prod(kernel), convolve, shapes
        channels = row.features
        if row.pool is not None:
            yield f"relu{number} + pool{number}", 0, functools.partial(_pool, row), [out]
        size = row.output_size(size)
    features = channels * (variant.average_pool or size) ** 2
    for name, width in zip(
        variant.dense_names, (*variant.hidden, request.num_classes), strict=True
    ):
        yield name, features * width, _product, [(batch, features), (features, width)]
        features = width


def _convolution(row: Conv, pads: Any, formulation: Any) -> Callable[..., Any]:
    return lambda x, kernel: formulation.convolution(
        x,
        kernel,
        (row.stride,) * 2,
        pads,
        dimension_numbers=LAYOUT,
        feature_group_count=row.groups,
    )


def _pool(row: Conv, formulation: Any) -> Callable[..., Any]:
    return lambda x: formulation.relu_max_pool(x, None, *row.pool)


def _product(formulation: Any) -> Callable[..., Any]:
    contract = (((1,), (0,)), ((), ()))
    return lambda x, kernel: formulation.dense_product(x, kernel, contract)


def _call(function: Callable[..., Any], arguments: Any, *, gradients: bool) -> Callable[[], Any]:
    def squares(*arguments: Any) -> jax.Array:
        return (function(*arguments).astype(jnp.float32) ** 2).sum()

    wanted = jax.grad(squares, tuple(range(len(arguments)))) if gradients else function
    compiled = jax.jit(wanted).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def time_augmentation(request: Request, batch_size: int) -> dict[str, Any]:
    """Times the antialiased random resized crop and the flip of packed images, on the device."""
    packed = round(PACKED_FACTOR * request.image_size)
    crop = RandomResizedCrop((0.08, 1.0), (3 / 4, 4 / 3))
    transform = Transform(
        request.image_size, NORMALIZATION, Augmentation(crop=crop, flip_probability=0.5)
    )
    images = np.random.default_rng(0).integers(0, 256, (batch_size, packed, packed, 3), np.uint8)
    images = jax.device_put(images, request.device)
    rows = jax.device_put(np.arange(batch_size, dtype=np.int32), request.device)

    def augment(images: jax.Array, rows: jax.Array) -> jax.Array:
        return transform(images, example_keys(0, jnp.int32(0), rows))

    compiled = jax.jit(augment).lower(images, rows).compile()
    calls = {"augment": lambda: jax.block_until_ready(compiled(images, rows))}
    seconds = median_seconds(calls, request.rounds)["augment"]
    return {
        "batch_size": batch_size,
        "from_pixels": packed,
        "to_pixels": request.image_size,
        "milliseconds": 1e3 * seconds,
        "images_per_second": batch_size / seconds,
    }


def time_transfer(request: Request, batch_size: int) -> dict[str, Any]:
    """Times bringing a batch of uint8 images from the host to the device."""
    images = batch_of(request, batch_size)["image"]
    calls = {"put": lambda: jax.block_until_ready(jax.device_put(images, request.device))}
    seconds = median_seconds(calls, request.rounds)["put"]
    return {
        "batch_size": batch_size,
        "milliseconds": 1e3 * seconds,
        "images_per_second": batch_size / seconds,
        "gigabytes_per_second": images.nbytes / seconds / 1e9,
    }


def profile(
    request: Request, batch_size: int, precision: str, layers: str, out: Path
) -> list[dict[str, Any]]:
    """Records one step with JAX's profiler under ``out`` and returns its longest operations."""
    batch = jax.device_put(batch_of(request, batch_size), request.device)
    run, _ = _running(request, precision, layers, batch)
    run()
    with jax.profiler.trace(str(out), create_perfetto_trace=True):
        run()
    totals: Counter[str] = Counter()
    for file in out.rglob("perfetto_trace.json.gz"):
        events = json.loads(gzip.decompress(file.read_bytes()))
        for event in events["traceEvents"] if isinstance(events, dict) else events:
            arguments = event.get("args") or {}
            place = arguments.get("tf_op") or arguments.get("hlo_op")
            if event.get("ph") == "X" and place:
                totals[f"{place}: {event['name']}"] += event["dur"]
    return [
        {"operation": name, "milliseconds": microseconds / 1e3}
        for name, microseconds in totals.most_common(KERNELS_SHOWN)
    ]
