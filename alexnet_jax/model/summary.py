"""What a network is made of: layers, shapes, parameters and multiply-accumulates."""

import dataclasses
import math
from typing import Any

import jax
from flax import nnx
from jax import numpy as jnp

from alexnet_jax.model.alexnet import AlexNet, create


@dataclasses.dataclass(frozen=True)
class LayerSummary:
    """One activation of the network.

    Attributes:
      name: As in ``AlexNet.features``.
      output_shape: Without the batch.
      parameters: Trainable numbers of the layer.
      macs: Multiply-accumulates for one image; biases, pooling and normalisations are not counted.
    """

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclasses.dataclass(frozen=True)
class Summary:
    """A network's layers and totals for one image."""

    variant: str
    image_size: int
    parameters: int
    macs: int
    layers: tuple[LayerSummary, ...]


def summarize(
    variant: str, *, image_size: int | None = None, num_classes: int | None = None
) -> Summary:
    """Measures a variant from its own forward pass, traced without computing anything.

    Args:
      variant: Its name.
      image_size: In pixels; the publisher's where None.
      num_classes: The publisher's where None.

    Raises:
      RequestError: As ``create``.
    """
    model = nnx.eval_shape(lambda: create(variant, image_size=image_size, num_classes=num_classes))
    image = jax.ShapeDtypeStruct((1, model.image_size, model.image_size, 3), jnp.float32)
    names: list[str] = []

    def forward(model: AlexNet, images: jax.Array) -> list[jax.Array]:
        features = model.features(images)
        names.extend(features)  # in order; a dict returned from a traced function comes back sorted
        return list(features.values())

    activations = nnx.eval_shape(forward, model, image)
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    layers = tuple(
        _summarize_layer(name, activation.shape[1:], params.get(name, {}))
        for name, activation in zip(names, activations, strict=True)
    )
    return Summary(
        variant=variant,
        image_size=model.image_size,
        parameters=sum(layer.parameters for layer in layers),
        macs=sum(layer.macs for layer in layers),
        layers=layers,
    )


def _summarize_layer(
    name: str, output_shape: tuple[int, ...], params: dict[str, Any]
) -> LayerSummary:
    # A kernel is applied once at every position of the output; a dense layer has one position.
    positions = math.prod(output_shape[:-1])
    kernel_size = params["kernel"].size if "kernel" in params else 0
    return LayerSummary(
        name=name,
        output_shape=tuple(output_shape),
        parameters=sum(array.size for array in params.values()),
        macs=positions * kernel_size,
    )
