"""Evaluation on ten crops of each image, as section 4.1 of the 2012 paper."""

import math
from collections.abc import Callable

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp


def ten_crop_logits(
    logits_of: Callable[[jax.Array], jax.Array], images: jax.Array, size: int
) -> jax.Array:
    """Averages the network's probabilities over the four corners and the centre, and those of the mirrored image.

    The two of each place are added first: a mirrored image, whose ten crops are the same in another order, gets the
    same result to the last bit.

    Args:
      logits_of: From crops [batch, size, size, 3] to logits [batch, num_classes].
      images: [batch, height, width, 3], both at least ``size``.
      size: Of the crops, in pixels.

    Returns:
      Logarithms of the mean probabilities [batch, num_classes], float32: logits whose softmax they are.
    """
    mirrored = images[:, :, ::-1]

    def log_probabilities(place: jax.Array) -> jax.Array:
        start = (0, place[0], place[1], 0)
        shape = (images.shape[0], size, size, images.shape[3])
        crops = (lax.dynamic_slice(whole, start, shape) for whole in (images, mirrored))
        return jnp.logaddexp(*(jax.nn.log_softmax(logits_of(crop)) for crop in crops))

    # One after the other: ten crops at once would need ten times the memory.
    sums = lax.map(log_probabilities, jnp.array(places(images.shape[1], images.shape[2], size)))
    return jax.nn.logsumexp(sums, axis=0) - math.log(10)


def places(height: int, width: int, size: int) -> np.ndarray:
    """Returns (top, left) of the four corners and the centre, int32 [5, 2]."""
    bottom, right = height - size, width - size
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    return np.array([*corners, (round(bottom / 2), round(right / 2))], np.int32)
