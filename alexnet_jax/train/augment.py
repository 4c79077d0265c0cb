"""From uint8 images to the network's input, on the device, inside the step; each image by its own key.

Every function takes one image, float32 [height, width, 3] on the 0-255 scale, and the key of that image; ``Transform``
chains them over a batch.
"""

import dataclasses
import functools
import itertools

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from alexnet_jax.randomness import address
from alexnet_jax.train.crop import RandomResizedCrop, View, apply_view, random_resized_crop

# Weights of R, G, B in a grey value: ITU-R BT.601, as Pillow and torchvision.
GREY = (0.299, 0.587, 0.114)

# Principal components of ImageNet's RGB pixels, 0-255: a column of EIGENVECTORS for each of EIGENVALUES, rows R, G, B.
# Section 4.1 of the 2012 paper has the method, not the numbers; these are the ones in general use.
EIGENVALUES = (1.148, 4.794, 55.46)
EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What training does to an image at random; the default does nothing.

    Attributes:
      pad_crop_pixels: Zero padding on each side before a random crop of the original size; 0 for none.
      random_crop: (resized, cropped): a square of ``cropped`` pixels out of the middle square of the image at
        ``resized`` pixels; None for none.
      flip_probability: Of mirroring left and right.
      color_jitter: Brightness, contrast and saturation factors are uniform in [1 - this, 1 + this].
      crop: Before all else, a random crop resized to the input's size; None where the host does it, or nobody.
      pca_noise: Standard deviation of each principal component's weight, 0.1 in the paper; 0 for none.
    """

    pad_crop_pixels: int = 0
    random_crop: tuple[int, int] | None = None
    flip_probability: float = 0.0
    color_jitter: float = 0.0
    crop: RandomResizedCrop | None = None
    pca_noise: float = 0.0


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation, of pixels on the 0-1 scale."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Transform:
    """Turns a batch of pixels into the network's input.

    Attributes:
      image_size: Height and width of the input, in pixels; other sizes are resized, bilinear.
      normalization: Applied last.
      augmentation: Applied where keys are given.
      view: What is seen of an image that is not cropped at random; None for all of it, where the host has cropped.
    """

    image_size: int
    normalization: Normalization
    augmentation: Augmentation
    view: View | None = None

    def __call__(
        self,
        images: jax.Array,
        keys: jax.Array | None = None,
        shapes: jax.Array | None = None,
    ) -> jax.Array:
        """Transforms a batch.

        Args:
          images: uint8 [batch, height, width, 3].
          keys: [batch] PRNG keys to augment with; None does not augment.
          shapes: [batch, 2], the height and width each image had, where it was resized to another aspect ratio.

        Returns:
          float32 [batch, image_size, image_size, 3].
        """
        augmentation = self.augmentation if keys is not None else Augmentation()
        x, view = images.astype(jnp.float32), self.view
        if augmentation.crop is not None:
            crop_keys = jax.vmap(lambda key: jax.random.fold_in(key, address("crop")))(keys)
            x = random_resized_crop(crop_keys, images, shapes, augmentation.crop, self.image_size)
            view = None
        elif augmentation.random_crop is not None and view is not None:
            resized, _ = augmentation.random_crop
            x = apply_view(x, shapes, View(resized, resized, squash=False))
            view = None
        if keys is not None:
            x = jax.vmap(functools.partial(augment, augmentation))(keys, x)
        if view is not None:
            x = apply_view(x, shapes, view)
        shape = (x.shape[0], self.image_size, self.image_size, x.shape[3])
        if x.shape != shape:
            x = jax.image.resize(x, shape, "bilinear")
        return normalize(x, self.normalization)


def augment(augmentation: Augmentation, key: jax.Array, image: jax.Array) -> jax.Array:
    """Applies the augmentations that are switched on."""

    def named(name: str) -> jax.Array:
        return jax.random.fold_in(key, address(name))

    if augmentation.pad_crop_pixels:
        image = pad_crop(named("pad_crop"), image, augmentation.pad_crop_pixels)
    if augmentation.random_crop:
        image = random_crop(named("random_crop"), image, *augmentation.random_crop)
    if augmentation.flip_probability:
        image = flip(named("flip"), image, augmentation.flip_probability)
    if augmentation.color_jitter:
        image = color_jitter(named("color_jitter"), image, augmentation.color_jitter)
    if augmentation.pca_noise:
        image = pca_noise(named("pca_noise"), image, augmentation.pca_noise)
    return image


def normalize(images: jax.Array, normalization: Normalization) -> jax.Array:
    """Returns ``(images / 255 - mean) / std`` for images [..., 3] on the 0-255 scale."""
    mean = 255 * np.array(normalization.mean, np.float32)
    scale = 1 / (255 * np.array(normalization.std, np.float32))
    return (images - mean) * scale


def pad_crop(key: jax.Array, image: jax.Array, pixels: int) -> jax.Array:
    """Pads with ``pixels`` zeros on each side and crops the original size at a uniformly drawn place."""
    padded = jnp.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)))
    top, left = jax.random.randint(key, (2,), 0, 2 * pixels + 1)
    return lax.dynamic_slice(padded, (top, left, 0), image.shape)


def random_crop(key: jax.Array, image: jax.Array, resized: int, cropped: int) -> jax.Array:
    """Crops ``cropped`` x ``cropped`` at a uniformly drawn place of the image at ``resized`` x ``resized`` pixels."""
    shape = (resized, resized, image.shape[2])
    if image.shape != shape:
        image = jax.image.resize(image, shape, "bilinear")
    top, left = jax.random.randint(key, (2,), 0, resized - cropped + 1)
    return lax.dynamic_slice(image, (top, left, 0), (cropped, cropped, shape[2]))


def flip(key: jax.Array, image: jax.Array, probability: float) -> jax.Array:
    """Mirrors left and right with ``probability``."""
    return jnp.where(jax.random.bernoulli(key, probability), image[:, ::-1], image)


def color_jitter(key: jax.Array, image: jax.Array, strength: float) -> jax.Array:
    """Changes brightness, contrast and saturation, in an order drawn for each image; equal to torchvision's.

    Args:
      key: PRNG key.
      image: [height, width, 3], 0-255.
      strength: Each factor is uniform in [1 - strength, 1 + strength].
    """
    factor_key, order_key = jax.random.split(key)
    factors = jax.random.uniform(factor_key, (3,), minval=1 - strength, maxval=1 + strength)
    order = jax.random.randint(order_key, (), 0, len(_ORDERS))
    return adjust_colors(image, factors, order)


# The six orders of (brightness, contrast, saturation).
_ORDERS = np.array(list(itertools.permutations(range(3))), np.int32)


def adjust_colors(image: jax.Array, factors: jax.Array, order: jax.Array) -> jax.Array:
    """Applies brightness, contrast and saturation factors [3] in the order of that number (0 to 5).

    Every adjustment blends the image with a poorer one: black, its mean grey, its grey version. The result is kept in
    [0, 255] after each.
    """

    def adjust(image: jax.Array, which: jax.Array) -> jax.Array:
        grey = (image * jnp.array(GREY)).sum(-1, keepdims=True)
        poorer = jnp.stack(
            [
                jnp.zeros_like(image),
                jnp.full_like(image, grey.mean()),
                jnp.broadcast_to(grey, image.shape),
            ]
        )[which]
        return jnp.clip(poorer + factors[which] * (image - poorer), 0, 255)

    for place in range(3):
        image = adjust(image, jnp.array(_ORDERS)[order, place])
    return image


def pca_noise(key: jax.Array, image: jax.Array, stddev: float) -> jax.Array:
    """Shifts the colour of the whole image along the principal components of ImageNet's pixels.

    Source: section 4.1 of the 2012 paper: the weights are drawn once an image, from N(0, ``stddev``²). The result may
    leave [0, 255].
    """
    return image + color_shift(stddev * jax.random.normal(key, (3,)))


def color_shift(weights: jax.Array) -> jax.Array:
    """Returns what ``weights`` [3] of the principal components add to R, G and B."""
    return jnp.array(EIGENVECTORS) @ (weights * jnp.array(EIGENVALUES))
