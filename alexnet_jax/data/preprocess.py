"""Images of any kind to what a network reads."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alexnet_jax.data import decode
from alexnet_jax.errors import RequestError

# Of ImageNet's training images, R, G and B on the 0-1 scale, as torchvision's weights were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

CHANNELS = (1, 3, 4)  # of one image; a batch of grey images so narrow is none
PLANS = {"center": decode.shorter_side, "squash": decode.both_sides}


def preprocess(
    images: Sequence[Any],
    *,
    image_size: int = 224,
    resize_pixels: int | None = None,
    protocol: str = "center",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> np.ndarray:
    """Reads, resizes, crops and normalises images: by default as torchvision's AlexNet expects them.

    Args:
      images: Each a path, a PIL image, a uint8 array [height, width, 3] or [height, width] (grey), or the bytes of
        an encoded file.
      image_size: Height and width of the result, in pixels.
      resize_pixels: What is resized to before the middle is cut out; 8/7 of ``image_size`` where None, as 256 to 224.
      protocol: "center" resizes the shorter side, "squash" both.
      mean: Subtracted from R, G and B on the 0-1 scale.
      std: Divided by.

    Returns:
      float32 [len(images), image_size, image_size, 3].

    Raises:
      RequestError: If something is not an image; the text says which and why.
    """
    if isinstance(images, str | bytes | os.PathLike | Image.Image):
        raise RequestError(
            f"preprocess takes a list of images; got one {type(images).__name__}. Use preprocess([image])."
        )
    shape = getattr(images, "shape", None)  # of an array, whose rows would pass for grey images
    if shape is not None and (len(shape) == 2 or (len(shape) == 3 and shape[2] in CHANNELS)):
        raise RequestError(
            f"preprocess takes a list of images; got one array of shape {tuple(shape)}. Use preprocess([image])."
        )
    if protocol not in PLANS:
        raise RequestError(f"protocol={protocol!r} is unknown; use one of: {', '.join(PLANS)}.")
    resized = usual_resize(image_size) if resize_pixels is None else resize_pixels
    if not 1 <= image_size <= resized:
        raise RequestError(
            f"image_size={image_size} cannot be cut out of resize_pixels={resized}; use at most {resized}."
        )
    plan = PLANS[protocol](resized)
    result = np.empty((len(images), image_size, image_size, 3), np.float32)
    for i, image in enumerate(images):
        result[i] = decode.center_crop(_resized(image, plan, f"images[{i}]"), image_size)
    scale = np.float32(255) * np.asarray(std, np.float32)
    result -= np.float32(255) * np.asarray(mean, np.float32)
    result /= scale
    return result


def usual_resize(image_size: int) -> int:
    """Returns what is resized to before ``image_size`` is cut out, unless told: 256 for 224."""
    return round(image_size * 8 / 7)


def _resized(image: Any, plan: decode.Plan, place: str) -> np.ndarray:
    """Returns an image as uint8 [height, width, 3], resized."""
    name = place
    try:
        if isinstance(image, str | os.PathLike):
            name = os.fspath(image)
            image = Path(image).read_bytes()
        if isinstance(image, bytes):
            return decode.decode_resized(image, plan)
        if not isinstance(image, Image.Image):
            image = Image.fromarray(_checked(np.asarray(image), place))
        return decode.resize(decode.as_rgb(image), *plan(*image.size))
    except RequestError:
        raise
    except FileNotFoundError as error:
        raise RequestError(f"{name}: there is no such file.") from error
    except decode.UNREADABLE as error:
        reason = str(error) or type(error).__name__
        others = ", a PIL image or a uint8 array" if name == place else ""
        raise RequestError(
            f"{name} is not an image that can be read ({reason}); give a JPEG or PNG file{others}."
        ) from error


def _checked(array: np.ndarray, place: str) -> np.ndarray:
    if (
        array.dtype != np.uint8
        or not (array.ndim == 2 or array.shape[2:] == (3,))
        or not array.size
    ):
        raise RequestError(
            f"{place} is a {array.dtype} array of shape {array.shape}; give uint8 [height, width, 3] or "
            "[height, width]."
        )
    return array
