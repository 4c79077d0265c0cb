"""Small pictures inside the page itself: filters and examples."""

import base64
import io

import numpy as np
from PIL import Image

THUMBNAIL_PIXELS = 112
SMALL_PIXELS = 48  # up to here, pixels are kept as they are and enlarged as squares


def filter_grid(kernel: np.ndarray, columns: int = 16) -> np.ndarray:
    """Lays out the filters of a first layer, each scaled so that 0 is mid-grey and its largest weight is full.

    Args:
      kernel: float [height, width, 3, filters].
      columns: Filters in a row.

    Returns:
      uint8 [rows, columns, 4]: R, G, B and opacity; the pixel between two filters is clear.
    """
    height, width, _, count = kernel.shape
    scale = np.abs(kernel).max((0, 1, 2), keepdims=True)
    pixels = 127.5 + 127.5 * kernel / np.where(scale > 0, scale, 1)
    columns = min(columns, count)
    rows = -(-count // columns)
    grid = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1, 4), np.uint8)
    for number in range(count):
        top, left = (height + 1) * (number // columns), (width + 1) * (number % columns)
        cell = grid[top : top + height, left : left + width]
        cell[..., :3] = np.round(pixels[..., number])
        cell[..., 3] = 255
    return grid


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Returns an image of at most ``THUMBNAIL_PIXELS`` a side."""
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.LANCZOS)
    return np.asarray(image)


def data_uri(pixels: np.ndarray) -> str:
    """Returns uint8 pixels as a ``data:`` address: PNG for small images and clear pixels, else JPEG."""
    image, file = Image.fromarray(pixels), io.BytesIO()
    exact = max(pixels.shape[:2]) <= SMALL_PIXELS or pixels.shape[2] == 4
    if exact:
        image.save(file, "PNG", optimize=True)
    else:
        image.save(file, "JPEG", quality=82)
    text = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{'png' if exact else 'jpeg'};base64,{text}"
