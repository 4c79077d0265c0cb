"""How many bytes each strategy would move, by arithmetic, and which one to take."""

from collections.abc import Mapping

from alexnet_jax.model.summary import summarize
from alexnet_jax.model.variants import get_variant

FLOAT32_BYTES = 4


def predicted_bytes(
    variant: str,
    *,
    num_classes: int,
    image_size: int,
    batch_size: int,
    device_count: int,
    activation_bytes: int,
) -> dict[str, int]:
    """Returns, for each strategy that fits, the bytes a device sends in a training step by ring algorithms.

    Data parallelism moves every gradient in float32, twice (n - 1) / n of them. ``hybrid`` moves so only the gradients
    outside the dense layers, and besides, forward and backward, (n - 1) / n of three kinds of activations of the whole
    batch: the first dense layer's input, the other hidden layers' outputs and the logits.

    Args:
      variant: Of the network.
      num_classes: Width of its classifier.
      image_size: Height and width of its input, in pixels.
      batch_size: Global.
      device_count: n above.
      activation_bytes: Of one activation.
    """
    row = get_variant(variant)
    summary = summarize(variant, image_size=image_size, num_classes=num_classes)
    ring = 2 * (device_count - 1) / device_count
    data_parallel = round(ring * summary.parameters * FLOAT32_BYTES)
    sent = {"jit": data_parallel, "pmap": data_parallel}
    if row.hidden and all(width % device_count == 0 for width in row.hidden):
        dense = sum(layer.parameters for layer in summary.layers if layer.name in row.dense_names)
        size = row.average_pool or row.feature_size(image_size)
        inputs = row.convolutions[-1].features * size * size
        activations = inputs + sum(row.hidden[1:]) + num_classes
        replicated = summary.parameters - dense + num_classes  # the classifier's bias is not split
        moved = replicated * FLOAT32_BYTES + batch_size * activations * activation_bytes
        sent["hybrid"] = round(ring * moved)
    return sent


def choose(sent: Mapping[str, int]) -> str:
    """Returns the strategy that sends least; of equal ones "jit"."""
    return min(sent, key=lambda name: (sent[name], name != "jit"))
