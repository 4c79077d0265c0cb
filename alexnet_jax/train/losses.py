"""Cross-entropy with the two label smoothings our sources use."""

import jax
import optax
from jax import numpy as jnp

# How the probability taken from the true class is shared out; see ``smoothed_targets``.
SMOOTHING_FORMS = ("all_classes", "other_classes")


def smoothed_targets(labels: jax.Array, num_classes: int, smoothing: float, form: str) -> jax.Array:
    """Returns target distributions.

    Source: Szegedy et al., arXiv:1512.00567, section 7.

    Args:
      labels: Integers [batch].
      num_classes: How many classes.
      smoothing: Probability taken from the true class, in [0, 1).
      form: "all_classes" shares it among all classes, the true one included (PyTorch, optax); "other_classes" among
        the others (MindSpore's AlexNet).

    Returns:
      float32 [batch, num_classes]; rows sum to 1.
    """
    targets = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
    if form == "all_classes":
        return optax.smooth_labels(targets, smoothing)
    off = smoothing / (num_classes - 1)
    return targets * (1 - smoothing - off) + off


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float, form: str) -> jax.Array:
    """Returns each example's cross-entropy, in nats, against its smoothed target.

    Args:
      logits: float32 [batch, num_classes].
      labels: Integers [batch].
      smoothing: As in ``smoothed_targets``.
      form: As in ``smoothed_targets``.

    Returns:
      float32 [batch].
    """
    if smoothing == 0:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    targets = smoothed_targets(labels, logits.shape[-1], smoothing, form)
    return optax.softmax_cross_entropy(logits, targets)
