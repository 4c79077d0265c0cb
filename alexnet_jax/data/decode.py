"""Encoded images to uint8 arrays of one size: what training and each evaluation protocol do on the host.

JPEGs are decoded by libjpeg-turbo (simplejpeg), everything it refuses by Pillow; both release the interpreter's lock.
Resizing is Pillow's, antialiased.
"""

import contextlib
import io
import math
import struct
from collections.abc import Callable, Iterator

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

Decoder = Callable[[bytes, np.random.Generator], np.ndarray]
Box = tuple[int, int, int, int]
# (width, height) of an image -> the box to keep (left, upper, right, lower) and the (width, height) to resize it to.
Plan = Callable[[int, int], tuple[Box, tuple[int, int]]]

CROP_TRIES = 10  # as torchvision: then fall back to the largest centred crop of an allowed shape
# libjpeg-turbo can decode at 1/2, 1/4 or 1/8 for less; what is left must be this much larger than the result, so that
# antialiasing still sees the frequencies it removes.
REDUCED_MARGIN = 2
REDUCTIONS = (8, 4, 2)
FAST_COLORS = ("YCbCr", "Gray")  # what simplejpeg and Pillow turn into the same RGB
# What Pillow raises for one kind of damage or another. Its RuntimeErrors are made OSErrors where it decodes: those of
# whatever else reads an example are failures of the program.
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


def open_image(encoded: bytes) -> Image.Image:
    """Opens an encoded image as RGB, whatever its mode; the file's name and EXIF orientation play no part.

    Raises:
      PIL.UnidentifiedImageError: If the bytes are no image.
      OSError: If the image is cut short.
    """
    with _pillow_decodes():
        return as_rgb(Image.open(io.BytesIO(encoded)))


def as_rgb(image: Image.Image) -> Image.Image:
    """Returns an image in RGB, whatever its mode; one that Pillow opened is decoded now.

    Raises:
      OSError: If the image is cut short; other kinds of damage raise others of ``UNREADABLE``.
    """
    with _pillow_decodes():
        if image.mode.startswith("I"):  # 16 bits a pixel; Pillow would clip instead of scaling
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        return image.convert("RGB")


@contextlib.contextmanager
def _pillow_decodes() -> Iterator[None]:
    """Raises as an OSError what Pillow says of a damaged AVIF (RuntimeError) or an odd DDS (NotImplementedError).

    Of bytes that are no image Pillow says where in memory they are.
    """
    try:
        yield
    except UnidentifiedImageError:
        raise UnidentifiedImageError("cannot identify image file") from None
    except RuntimeError as error:
        raise OSError(str(error)) from error


def decode_resized(encoded: bytes, plan: Plan) -> np.ndarray:
    """Decodes the part of an image that ``plan`` chooses and resizes it, bilinear and antialiased.

    The plan sees the image's size before anything is decoded, so that a large JPEG can be decoded at a fraction of
    its size. Pixels next to the box take part in the resampling, as Pillow's ``resize(size, box=box)`` has it.

    Returns:
      uint8 [height, width, 3].

    Raises:
      PIL.UnidentifiedImageError: If the bytes are no image.
      OSError: If the image is cut short; other kinds of damage raise others of ``UNREADABLE``.
    """
    size = _jpeg_size(encoded)
    if size is None:
        image = open_image(encoded)
        box, out = plan(*image.size)
        return resize(image, box, out)
    box, out = plan(*size)
    try:
        image = _decode_jpeg(encoded, size, _reduction(box, out))
    except ValueError:  # damaged, or merely unusual, which Pillow forgives
        return resize(open_image(encoded), box, out)
    return resize(image, _scaled(box, size, image.size), out)


def image_shape(encoded: bytes) -> tuple[int, int]:
    """Returns the height and width of an encoded image, which is not decoded."""
    size = _jpeg_size(encoded)
    if size is None:
        with _pillow_decodes():
            size = Image.open(io.BytesIO(encoded)).size
    width, height = size
    return height, width


def _jpeg_size(encoded: bytes) -> tuple[int, int] | None:
    """Returns (width, height) of a JPEG that libjpeg-turbo turns into RGB, None for anything else."""
    if not simplejpeg.is_jpeg(encoded):
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:
        return None
    return (width, height) if colors in FAST_COLORS else None


def _reduction(box: Box, out: tuple[int, int]) -> int:
    """Returns the largest factor that leaves the box ``REDUCED_MARGIN`` times the size it is resized to."""
    width, height = box[2] - box[0], box[3] - box[1]
    spare = min(width / out[0], height / out[1]) / REDUCED_MARGIN
    return next((factor for factor in REDUCTIONS if factor <= spare), 1)


def _decode_jpeg(encoded: bytes, size: tuple[int, int], reduction: int) -> Image.Image:
    width, height = size
    pixels = simplejpeg.decode_jpeg(
        encoded,
        "RGB",
        min_width=-(-width // reduction),
        min_height=-(-height // reduction),
        min_factor=reduction,
    )
    return Image.fromarray(pixels)


def _scaled(
    box: Box, size: tuple[int, int], reduced: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Returns the box of an image of ``size`` in pixels of the same image at size ``reduced``."""
    x, y = reduced[0] / size[0], reduced[1] / size[1]
    left, upper, right, lower = box
    return left * x, upper * y, min(right * x, reduced[0]), min(lower * y, reduced[1])


def resize(
    image: Image.Image, box: tuple[float, float, float, float], out: tuple[int, int]
) -> np.ndarray:
    """Returns a part of an RGB image as uint8 [height, width, 3], bilinear and antialiased.

    Args:
      image: In RGB.
      box: Of the part (left, upper, right, lower), in pixels.
      out: The result's (width, height).
    """
    return np.asarray(image.resize(out, Image.Resampling.BILINEAR, box=box))


def random_resized_crop(
    image_size: int, area: tuple[float, float], aspect: tuple[float, float]
) -> Decoder:
    """Returns a decoder for training: a random crop, resized to ``image_size`` x ``image_size``.

    The crop's area is uniform within ``area`` (fractions of the image), its aspect ratio log-uniform within
    ``aspect`` (width / height). Source: Szegedy et al., arXiv:1409.4842, section 6, as torchvision does it.
    """

    def decode(encoded: bytes, generator: np.random.Generator) -> np.ndarray:
        def plan(width: int, height: int) -> tuple[Box, tuple[int, int]]:
            return draw_crop(generator, width, height, area, aspect), (image_size, image_size)

        return decode_resized(encoded, plan)

    return decode


def draw_crop(
    generator: np.random.Generator,
    width: int,
    height: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> Box:
    """Draws a crop (left, upper, right, lower) in pixels of an image of ``width`` x ``height``."""
    for _ in range(CROP_TRIES):
        target = width * height * generator.uniform(*area)
        ratio = math.exp(generator.uniform(math.log(aspect[0]), math.log(aspect[1])))
        crop_width, crop_height = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left = int(generator.integers(width - crop_width, endpoint=True))
            upper = int(generator.integers(height - crop_height, endpoint=True))
            return left, upper, left + crop_width, upper + crop_height
    crop_width = min(width, round(height * aspect[1]))
    crop_height = min(height, round(width / aspect[0]))
    left, upper = (width - crop_width) // 2, (height - crop_height) // 2
    return left, upper, left + crop_width, upper + crop_height


def shorter_side(resize_pixels: int) -> Plan:
    """Returns the plan to keep the whole image and its shape, its shorter side ``resize_pixels`` long."""

    def plan(width: int, height: int) -> tuple[Box, tuple[int, int]]:
        shorter = min(width, height)
        # As torchvision: the longer side is truncated, not rounded. In whole numbers, for a product with the rounded
        # resize_pixels / shorter can fall just short of a whole one.
        out = resize_pixels * width // shorter, resize_pixels * height // shorter
        return (0, 0, width, height), out

    return plan


def both_sides(resize_pixels: int) -> Plan:
    """Returns the plan to squash the whole image into a square of ``resize_pixels``."""
    return lambda width, height: ((0, 0, width, height), (resize_pixels, resize_pixels))


def center(resize_pixels: int, image_size: int) -> Decoder:
    """Returns the decoder of the "center" protocol: shorter side to ``resize_pixels``, then the middle square."""
    return _middle(shorter_side(resize_pixels), image_size)


def squash(resize_pixels: int, image_size: int) -> Decoder:
    """Returns the decoder of the "squash" protocol: both sides to ``resize_pixels``, then the middle square."""
    return _middle(both_sides(resize_pixels), image_size)


def _middle(plan: Plan, image_size: int) -> Decoder:
    def decode(encoded: bytes, generator: np.random.Generator) -> np.ndarray:
        del generator
        return center_crop(decode_resized(encoded, plan), image_size)

    return decode


def whole(resize_pixels: int, image_size: int) -> Decoder:
    """Returns the decoder of the "ten_crop" protocol: the middle square, which the device takes the crops from."""
    del image_size
    return center(resize_pixels, resize_pixels)


PROTOCOLS: dict[str, Callable[[int, int], Decoder]] = {
    "center": center,
    "squash": squash,
    "ten_crop": whole,
}


def center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Returns the middle ``size`` x ``size`` pixels of [height, width, 3]."""
    upper, left = (round((n - size) / 2) for n in image.shape[:2])
    return image[upper : upper + size, left : left + size]
