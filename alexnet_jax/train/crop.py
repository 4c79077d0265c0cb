"""Cropping and resizing on the device, for images that arrive as arrays: an antialiased bilinear resampling.

Resampling a box is linear in the rows and in the columns, so it is two dense products with a matrix of weights each,
which matrix units are made for; no gather, no loop. The weights are those of Pillow's ``resize(size, BILINEAR,
box=box)``: a triangle as wide as two output pixels, or two input pixels where it enlarges, at the image's border cut
off and scaled up to a sum of one.
"""

import dataclasses
import functools
import math

import jax
from jax import lax
from jax import numpy as jnp

CROP_TRIES = 10  # as torchvision: then fall back to the largest centred crop of an allowed shape


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """Boxes of random size, shape and place.

    Attributes:
      area: Bounds of the area, as fractions of the image's.
      aspect: Bounds of width / height.
    """

    area: tuple[float, float]
    aspect: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class View:
    """What an evaluation protocol sees: the middle square of the resized image.

    Attributes:
      resize_pixels: What the shorter side, or with ``squash`` both sides, are resized to.
      image_size: Side of the square, in pixels.
      squash: Whether both sides are resized, whatever the aspect ratio.
    """

    resize_pixels: int
    image_size: int
    squash: bool


def draw_box(key: jax.Array, shape: jax.Array, crop: RandomResizedCrop) -> jax.Array:
    """Draws a box as torchvision's RandomResizedCrop does.

    The area is uniform and the aspect ratio log-uniform within their bounds; of ten draws the first that fits is taken.
    Source: Szegedy et al., arXiv:1409.4842, section 6.

    Args:
      key: PRNG key.
      shape: [2] height and width of the image.
      crop: The bounds.

    Returns:
      float32 [4]: top, left, height and width; whole pixels.
    """
    height, width = shape.astype(jnp.float32)
    area_key, aspect_key, place_key = jax.random.split(key, 3)
    low, high = crop.area
    areas = height * width * jax.random.uniform(area_key, (CROP_TRIES,), minval=low, maxval=high)
    low, high = (math.log(ratio) for ratio in crop.aspect)
    ratios = jnp.exp(jax.random.uniform(aspect_key, (CROP_TRIES,), minval=low, maxval=high))
    widths, heights = jnp.round(jnp.sqrt(areas * ratios)), jnp.round(jnp.sqrt(areas / ratios))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = jnp.argmax(fits)
    drawn = jnp.stack([heights[first], widths[first]])
    largest = jnp.stack(
        [
            jnp.minimum(height, jnp.round(width / crop.aspect[0])),
            jnp.minimum(width, jnp.round(height * crop.aspect[1])),
        ]
    )
    sides = jnp.where(fits.any(), drawn, largest)
    room = jnp.stack([height, width]) - sides
    place = jnp.floor(jax.random.uniform(place_key, (2,)) * (room + 1))
    corner = jnp.where(fits.any(), jnp.minimum(place, room), jnp.floor(room / 2))
    return jnp.concatenate([corner, sides])


def random_resized_crop(
    keys: jax.Array, images: jax.Array, shapes: jax.Array | None, crop: RandomResizedCrop, size: int
) -> jax.Array:
    """Crops each image at a drawn box and resizes it to ``size`` x ``size``.

    Args:
      keys: [batch] PRNG keys.
      images: [batch, height, width, channels].
      shapes: [batch, 2], the height and width each image had before it was resized to this array's, whatever its
        aspect ratio; the boxes are drawn on those. None where nothing was resized.
      crop: The bounds.
      size: In pixels.

    Returns:
      float32 [batch, size, size, channels].
    """
    packed = jnp.array(images.shape[1:3], jnp.float32)
    if shapes is None:
        shapes = jnp.broadcast_to(packed.astype(jnp.int32), (len(images), 2))

    def one(key: jax.Array, image: jax.Array, shape: jax.Array) -> jax.Array:
        box = draw_box(key, shape, crop)
        scale = packed / shape.astype(jnp.float32)
        return resample(image, box * jnp.concatenate([scale, scale]), size)

    return jax.vmap(one)(keys, images, shapes)


def view_box(view: View, shape: jax.Array, packed: jax.Array) -> jax.Array:
    """Returns the box of a view in pixels of an array of height and width ``packed`` [2].

    Args:
      view: The protocol.
      shape: [2] height and width the image had before it was resized to ``packed``.
      packed: [2].
    """
    shape = shape.astype(jnp.float32)
    if view.squash:
        resized = jnp.full(2, float(view.resize_pixels))
    else:
        # As torchvision: the longer side is truncated, not rounded; a little more, so that whole results stay whole.
        shorter = shape.min()
        longer = jnp.floor(shape * (view.resize_pixels / shorter) + 1e-3)
        resized = jnp.where(shape == shorter, float(view.resize_pixels), longer)
    corner = jnp.round((resized - view.image_size) / 2)
    scale = packed / resized
    return jnp.concatenate([corner * scale, view.image_size * scale])


def apply_view(images: jax.Array, shapes: jax.Array | None, view: View) -> jax.Array:
    """Returns what the protocol sees of each image, float32 [batch, image_size, image_size, channels].

    Args:
      images: [batch, height, width, channels].
      shapes: As for ``random_resized_crop``.
      view: The protocol.
    """
    height, width = images.shape[1:3]
    if shapes is None and height == width == view.resize_pixels:  # nothing is resized
        start = round((height - view.image_size) / 2)
        stop = start + view.image_size
        return images[:, start:stop, start:stop].astype(jnp.float32)
    packed = jnp.array([height, width], jnp.float32)
    if shapes is None:
        box = view_box(view, packed, packed)
        return jax.vmap(functools.partial(resample, box=box, size=view.image_size))(images)
    boxes = jax.vmap(lambda shape: view_box(view, shape, packed))(shapes)
    return jax.vmap(functools.partial(resample, size=view.image_size))(images, boxes)


def resample(image: jax.Array, box: jax.Array, size: int) -> jax.Array:
    """Resizes the box of an image to ``size`` x ``size``, bilinear and antialiased.

    Args:
      image: [height, width, channels], of any type.
      box: float32 [4]: top, left, height and width in pixels, not necessarily whole; within the image.
      size: In pixels.

    Returns:
      float32 [size, size, channels].
    """
    height, width, channels = image.shape
    rows = _weights(box[0], box[2], height, size)
    columns = _weights(box[1], box[3], width, size)
    pixels = image.astype(jnp.float32).reshape(height, width * channels)
    tall = lax.dot(rows, pixels).reshape(size, width, channels)
    return jnp.einsum("jw,iwc->ijc", columns, tall)


def _weights(start: jax.Array, length: jax.Array, count: int, size: int) -> jax.Array:
    """Returns [size, count]: how much each of ``count`` input pixels is in each output pixel."""
    scale = length / size
    centers = start + (jnp.arange(size, dtype=jnp.float32) + 0.5) * scale
    inputs = jnp.arange(count, dtype=jnp.float32) + 0.5
    distances = jnp.abs(inputs[None, :] - centers[:, None]) / jnp.maximum(scale, 1)
    weights = jnp.maximum(1 - distances, 0)
    return weights / weights.sum(1, keepdims=True)
