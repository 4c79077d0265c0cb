"""A model as pure functions: split once into a definition and arrays, then applied under jit, grad and vmap."""

from typing import Any, NamedTuple

import jax
from flax import nnx

from alexnet_jax.model.alexnet import AlexNet

Tree = dict[str, Any]


class Functional(NamedTuple):
    """A model without its arrays. Hashable and constant: safe to close over in a jitted function."""

    graphdef: nnx.GraphDef[AlexNet]

    def apply(
        self, params: Tree, model_state: Tree, images: jax.Array, keys: jax.Array | None = None
    ) -> tuple[jax.Array, Tree]:
        """Calls the model.

        Args:
          params: Layer name -> parameter name -> array, as ``split`` returns them.
          model_state: Batch statistics in the same form; empty for variants without.
          images: [batch, image_size, image_size, 3].
          keys: [batch] PRNG keys; given, the model trains.

        Returns:
          Logits [batch, num_classes] in float32, and the model state after the call.
        """
        model = nnx.merge(self.graphdef, params, model_state)
        logits = model(images, keys)
        return logits, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.Param)))

    def bind(self, params: Tree, model_state: Tree) -> AlexNet:
        """Returns a model that holds these arrays."""
        return nnx.merge(self.graphdef, params, model_state)


def split(model: AlexNet) -> tuple[Functional, Tree, Tree]:
    """Splits a model into its definition, its parameters and its model state (plain nested dicts of arrays)."""
    params, model_state = nnx.state(model, nnx.Param), nnx.state(model, nnx.Not(nnx.Param))
    return Functional(nnx.graphdef(model)), nnx.to_pure_dict(params), nnx.to_pure_dict(model_state)
