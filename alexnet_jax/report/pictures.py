"""Small pictures inside the page itself."""

import base64
import io

import numpy as np
from PIL import Image

THUMBNAIL_PIXELS = 112
SMALL_PIXELS = 48  # up to here, pixels are kept as they are and enlarged as squares


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
