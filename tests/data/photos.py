"""Real photographs for tests, scikit-learn's two, encoded in every way that has to be read."""

import functools
import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images


@functools.cache
def _originals() -> tuple[np.ndarray, ...]:
    return tuple(load_sample_images().images)


def photo(number: int, width: int = 250, height: int = 190) -> Image.Image:
    """Returns a part of a photograph; another one for each number."""
    original = Image.fromarray(_originals()[number % 2])
    left, upper = (37 * number) % 120, (23 * number) % 60
    part = original.crop((left, upper, left + 500, upper + 360))
    return part.resize((width, height), Image.Resampling.LANCZOS)


def encode(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}) | options)
    return buffer.getvalue()


def jpeg(number: int, width: int = 250, height: int = 190) -> bytes:
    return encode(photo(number, width, height))


def rotated_by_exif(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(image, exif=exif)


def odd_images() -> dict[str, bytes]:
    """Returns what ImageNet has besides plain JPEGs, by kind; all of them readable."""
    return {
        "cmyk": encode(photo(1).convert("CMYK")),
        "png_named_jpeg": encode(photo(2), "PNG"),
        "grey": encode(photo(3).convert("L")),
        "exif_rotated": rotated_by_exif(photo(4)),
        "progressive": encode(photo(5), progressive=True),
        "palette": encode(photo(6).convert("P"), "PNG", transparency=b"\x00\x80"),
        "trailing_bytes": encode(photo(7)) + b"\x00" * 100,
    }


def truncated(number: int) -> bytes:
    encoded = jpeg(number)
    return encoded[: len(encoded) // 2]
