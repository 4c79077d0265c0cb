"""The places of a model that arrays of a file go to."""

import dataclasses
import functools
from typing import Any

import numpy as np
from flax import nnx

from alexnet_jax.model import functional
from alexnet_jax.model.alexnet import create
from alexnet_jax.model.weights.layout import from_published, published_shape, to_published
from alexnet_jax.model.weights.names import LEAVES, naming

PARAMS, MODEL_STATE = "params", "model_state"


@dataclasses.dataclass(frozen=True)
class Slot:
    """One array of a model.

    Attributes:
      name: What its publisher calls it.
      shape: In the publisher's layout.
      tree: "params" or "model_state".
      layer: Our name.
      leaf: Our name of the parameter or statistic.
      channels: Of the feature map that this layer flattens; None where it flattens none.
    """

    name: str
    shape: tuple[int, ...]
    tree: str
    layer: str
    leaf: str
    channels: int | None

    def to_published(self, array: np.ndarray) -> np.ndarray:
        """Returns our array in the publisher's layout."""
        return to_published(array, self.channels)

    def from_published(self, array: np.ndarray) -> np.ndarray:
        """Returns the publisher's array in our layout, in float32."""
        return from_published(array.astype(np.float32), self.channels)


@dataclasses.dataclass(frozen=True)
class Frame:
    """A model without its numbers.

    Attributes:
      model: Its definition.
      num_classes: Width of its classifier.
      image_size: Height and width of its input, in pixels.
      slots: What it holds.
      classifier: The name of the classifier's kernel and how many features it sees.
    """

    model: functional.Functional
    num_classes: int
    image_size: int
    slots: tuple[Slot, ...]
    classifier: tuple[str, int]


@functools.cache
def frame(variant: str, *, num_classes: int | None = None, image_size: int | None = None) -> Frame:
    """Returns a variant's frame; nothing is computed.

    Raises:
      RequestError: As ``create``.
    """
    abstract = nnx.eval_shape(
        lambda: create(variant, num_classes=num_classes, image_size=image_size)
    )
    model, *trees = functional.split(abstract)
    first_dense, classifier = abstract.variant.dense_names[0], abstract.variant.dense_names[-1]
    channels = abstract.variant.convolutions[-1].features
    names = naming(variant).layers
    slots = tuple(
        Slot(
            name=f"{names[layer]}.{LEAVES[leaf]}",
            shape=published_shape(array.shape),
            tree=tree,
            layer=layer,
            leaf=leaf,
            channels=channels if (layer, leaf) == (first_dense, "kernel") else None,
        )
        for tree, layers in zip((PARAMS, MODEL_STATE), trees, strict=True)
        for layer, leaves in layers.items()
        for leaf, array in leaves.items()
    )
    name = f"{names[classifier]}.{LEAVES['kernel']}"
    width = next(slot.shape[1] for slot in slots if slot.name == name)
    return Frame(model, abstract.num_classes, abstract.image_size, slots, (name, width))


def empty_trees() -> dict[str, dict[str, Any]]:
    """Returns a place for the arrays of each tree."""
    return {PARAMS: {}, MODEL_STATE: {}}
