"""Mixup and CutMix: an image and its neighbour in the batch become one, and their targets too."""

import dataclasses

import jax
from jax import numpy as jnp

from alexnet_jax.randomness import address


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Which mixing is on: at least one. Where both are, each image takes one of them with equal probability.

    Attributes:
      mixup_alpha: Of the Beta(alpha, alpha) distribution an image's weight is drawn from; 0 for no mixup.
      cutmix_alpha: Likewise of CutMix.
    """

    mixup_alpha: float
    cutmix_alpha: float


def mix(
    mixing: Mixing, keys: jax.Array, images: jax.Array, others: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mixes each image with another of the batch.

    Sources: Zhang et al., arXiv:1710.09412 (mixup); Yun et al., arXiv:1905.04899, section 3.1 (CutMix).

    Args:
      mixing: Which, and how strongly.
      keys: [batch] PRNG keys, one an example.
      images: [batch, height, width, 3].
      others: Likewise, what each is mixed with: ``neighbour`` of them, as the order of a batch is random already.

    Returns:
      Images of the same shape, and the share [batch] of each that is its own: the weight of its label.
    """
    height, width = images.shape[1:3]

    def masks(key: jax.Array) -> jax.Array:
        """Returns the weight of the example's own pixels [height, width]."""
        if mixing.cutmix_alpha == 0:
            return mixup_mask(key, mixing.mixup_alpha, height, width)
        if mixing.mixup_alpha == 0:
            return cutmix_mask(key, mixing.cutmix_alpha, height, width)
        return jnp.where(
            jax.random.bernoulli(jax.random.fold_in(key, address("mixup or cutmix"))),
            mixup_mask(key, mixing.mixup_alpha, height, width),
            cutmix_mask(key, mixing.cutmix_alpha, height, width),
        )

    own = jax.vmap(masks)(keys)
    weight = own[..., None]
    return weight * images + (1 - weight) * others, own.mean((1, 2))


def neighbour(x: jax.Array) -> jax.Array:
    """Returns what each row [batch, ...] is mixed with: the row before, and for the first the last."""
    return jnp.roll(x, 1, axis=0)


def mixup_mask(key: jax.Array, alpha: float, height: int, width: int) -> jax.Array:
    """Returns one weight, Beta(alpha, alpha), for all pixels [height, width]."""
    weight = jax.random.beta(jax.random.fold_in(key, address("mixup")), alpha, alpha)
    return jnp.full((height, width), weight)


def cutmix_mask(key: jax.Array, alpha: float, height: int, width: int) -> jax.Array:
    """Returns 0 in a box and 1 outside it [height, width].

    The box has the share 1 - w of the area, w from Beta(alpha, alpha), the image's shape, and its centre anywhere in
    the image; what reaches over the edge is cut off.
    """
    weight_key, place_key = jax.random.split(jax.random.fold_in(key, address("cutmix")))
    side = jnp.sqrt(1 - jax.random.beta(weight_key, alpha, alpha))  # as a fraction of the image's
    centre = jax.random.uniform(place_key, (2,))

    def outside(size: int, centre: jax.Array) -> jax.Array:
        half = jnp.floor(size * side / 2)  # in pixels
        distance = jnp.arange(size) - jnp.floor(centre * size)
        return (distance < -half) | (distance >= half)

    return (outside(height, centre[0])[:, None] | outside(width, centre[1])[None]).astype(
        jnp.float32
    )
