"""Model-parallel dense layers: each device holds a part of their parameters and sees the whole batch.

Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997. The dense
layers hold most of AlexNet's parameters and do little of its arithmetic, so moving their activations is cheaper than
moving their gradients, as long as the batch is not large.

The products below are per-device programs with explicit collectives. Differentiating them turns each collective into
its transpose (an all-gather into a reduce-scatter and back), so that the backward pass moves no more than the forward
pass; left to sharding constraints alone, the compiler would use all-reduces, of twice the size.
"""

import functools
from typing import Any

import jax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from alexnet_jax.errors import RequestError
from alexnet_jax.model.variants import Variant

Specs = dict[tuple[str, str], PartitionSpec]


def dense_products(mesh: Mesh, variant: Variant, axis: str) -> dict[str, Any]:
    """Returns, for each dense layer, what turns one device's ``lax.dot_general``, or its like, into that of all.

    Activations travel so, for a batch of B over n devices:

    - first layer: rows are gathered, [B / n, features] -> [B, features]; each device computes its columns;
    - middle layers: from its columns of the input each device computes a part of every sum; adding up leaves each
      device its columns of the output;
    - classifier: likewise, but adding up leaves each device its rows.

    A variant with one dense layer has nothing to gain: its classifier stays as it is.

    Raises:
      RequestError: If a hidden layer cannot be split evenly.
    """
    count = mesh.devices.size
    for width in variant.hidden:
        if width % count:
            raise RequestError(
                f"parallelism='hybrid' splits the {width} units of a hidden layer of {variant.name!r}, which "
                f"{count} devices cannot share evenly; use a number of devices that divides {width}, or "
                "parallelism='jit'."
            )
    if not variant.hidden:
        return {}
    first, *middle, last = variant.dense_names
    rows, columns = PartitionSpec(axis, None), PartitionSpec(None, axis)
    shard = functools.partial(_product, mesh)
    return {
        first: shard(functools.partial(_gather_rows, axis), (rows, columns), columns),
        **{
            name: shard(functools.partial(_scatter, axis, 1), (columns, rows), columns)
            for name in middle
        },
        last: shard(functools.partial(_scatter, axis, 0), (columns, rows), rows),
    }


def parameter_specs(variant: Variant, axis: str) -> Specs:
    """Returns how the dense layers' parameters are split, by (layer, parameter); all others are replicated."""
    if not variant.hidden:
        return {}
    first, *middle, last = variant.dense_names
    specs: Specs = {
        (first, "kernel"): PartitionSpec(None, axis),
        (first, "bias"): PartitionSpec(axis),
        (last, "kernel"): PartitionSpec(axis, None),
    }
    for name in middle:
        specs[name, "kernel"] = PartitionSpec(axis, None)
        specs[name, "bias"] = PartitionSpec(axis)
    return specs


def _product(mesh: Mesh, program: Any, in_specs: Any, out_specs: PartitionSpec) -> Any:
    """Wraps a per-device program ``(x, kernel, dot) -> y`` as a ``dot_general`` of x [B, in] and kernel [in, out]."""

    def dot_general(
        product: Any, x: jax.Array, kernel: jax.Array, *arguments: Any, **options: Any
    ) -> jax.Array:
        def dot(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return product(x, kernel, *arguments, **options)

        def on_device(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return program(x, kernel, dot)

        return jax.shard_map(on_device, mesh=mesh, in_specs=in_specs, out_specs=out_specs)(
            x, kernel
        )

    return functools.partial(functools.partial, dot_general)


def _gather_rows(axis: str, x: jax.Array, kernel: jax.Array, dot: Any) -> jax.Array:
    return dot(lax.all_gather(x, axis, axis=0, tiled=True), kernel)


def _scatter(axis: str, dimension: int, x: jax.Array, kernel: jax.Array, dot: Any) -> jax.Array:
    return lax.psum_scatter(dot(x, kernel), axis, scatter_dimension=dimension, tiled=True)
