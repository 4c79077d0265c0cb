"""From a model to a file that others read."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from alexnet_jax.errors import RequestError
from alexnet_jax.model import functional
from alexnet_jax.model.alexnet import AlexNet
from alexnet_jax.model.weights import safetensors_file
from alexnet_jax.model.weights.names import BATCH_COUNT, naming
from alexnet_jax.model.weights.slots import MODEL_STATE, PARAMS, frame


def published_arrays(model: AlexNet) -> dict[str, np.ndarray]:
    """Returns a model's arrays by its publisher's names and in its publisher's layout, in float32."""
    variant = model.variant.name
    _, params, model_state = functional.split(model)
    trees = {PARAMS: params, MODEL_STATE: model_state}
    wanted = frame(variant, num_classes=model.num_classes, image_size=model.image_size)
    arrays = {
        slot.name: slot.to_published(np.asarray(trees[slot.tree][slot.layer][slot.leaf]))
        for slot in wanted.slots
    }
    for layer in model_state:  # PyTorch's strict loading asks for it
        arrays[f"{naming(variant).layers[layer]}.{BATCH_COUNT}"] = np.zeros((), np.int64)
    return arrays


def write(model: AlexNet, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Writes a model's weights to a ``.safetensors`` file.

    Args:
      model: Of any variant.
      path: Ends in ``.safetensors``.
      metadata: More that the file is to say of itself.

    Raises:
      RequestError: If the path names another format, or cannot be written.
    """
    if path.suffix != safetensors_file.SUFFIX:
        example = path.with_suffix(safetensors_file.SUFFIX) if path.name else "alexnet.safetensors"
        raise RequestError(
            f"{path}: weights are written to {safetensors_file.SUFFIX} files only, which PyTorch, MindSpore and "
            f"others read; use e.g. {example}."
        )
    said = {
        **(metadata or {}),
        "format": "pt",
        "variant": model.variant.name,
        "image_size": str(model.image_size),
    }
    safetensors_file.write(path, published_arrays(model), said)
