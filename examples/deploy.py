"""Runs an exported model with jax, flatbuffers (which jax reads the file with), NumPy and Pillow alone.

python -m alexnet_jax export --weights alexnet.pth alexnet.stablehlo
python examples/deploy.py alexnet.stablehlo photo.jpg ...
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from jax import export, nn
from PIL import Image


def read(file: str, look: dict[str, Any]) -> np.ndarray:
    """Returns an image of 8 bits a channel as ``alexnet_jax.preprocess`` does: float32 [size, size, 3]."""
    image = Image.open(file)
    size, resized = look["image_size"], look["resize_pixels"]
    if look["protocol"] == "squash":
        width = height = resized
    else:  # "center": the shorter side
        width, height = (resized * side // min(image.size) for side in image.size)
    if image.mode != "CMYK":  # a large JPEG is decoded at a fraction of its size
        image.draft(None, (2 * width, 2 * height))
    if image.mode == "P":  # so that Pillow need not warn of transparent colours
        image = image.convert("RGBA")
    image = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    left, upper = (round((side - size) / 2) for side in image.size)
    pixels = np.asarray(image, np.float32)[upper : upper + size, left : left + size]
    return (pixels - 255 * np.float32(look["mean"])) / (255 * np.float32(look["std"]))


def main() -> None:
    """Prints the likeliest class of each image."""
    parser = argparse.ArgumentParser(description="Labels images with an exported model.")
    parser.add_argument("model", type=Path, help="made by: python -m alexnet_jax export")
    parser.add_argument("images", nargs="+")
    options = parser.parse_args()

    exported = export.deserialize(bytearray(options.model.read_bytes()))
    said = json.loads(options.model.with_suffix(".json").read_text())  # written beside it
    images = np.stack([read(file, said["look"]) for file in options.images])
    for file, row in zip(options.images, nn.softmax(exported.call(images)), strict=True):
        print(file, f"{float(row.max()):.3f}", said["classes"][int(row.argmax())])


try:
    main()
except OSError as error:  # a file that is not there, or no image
    sys.exit(f"{error}")
