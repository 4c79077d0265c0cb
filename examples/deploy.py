"""Runs an exported model with jax, flatbuffers (which jax reads the file with), NumPy and Pillow alone.

python -m alexnet_jax export --weights alexnet.pth alexnet.stablehlo
python examples/deploy.py alexnet.stablehlo photo.jpg ...
"""

import argparse
from pathlib import Path

import numpy as np
from jax import export, nn
from PIL import Image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of R, G and B from 0 to 1


def read(file: str, size: int) -> np.ndarray:
    """Returns an image of 8 bits a channel as ``alexnet_jax.preprocess`` does: float32 [size, size, 3]."""
    image = Image.open(file)
    resized = round(size * 8 / 7)
    width, height = (resized * side // min(image.size) for side in image.size)
    if image.mode != "CMYK":  # a large JPEG is decoded at a fraction of its size
        image.draft(None, (2 * width, 2 * height))
    if image.mode == "P":  # so that Pillow need not warn of transparent colours
        image = image.convert("RGBA")
    image = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    left, upper = (round((side - size) / 2) for side in image.size)
    pixels = np.asarray(image, np.float32)[upper : upper + size, left : left + size]
    return (pixels - 255 * np.float32(MEAN)) / (255 * np.float32(STD))


parser = argparse.ArgumentParser(description="Labels images with an exported model.")
parser.add_argument("model", type=Path, help="made by: python -m alexnet_jax export")
parser.add_argument("images", nargs="+")
options = parser.parse_args()

exported = export.deserialize(bytearray(options.model.read_bytes()))
size = exported.in_avals[0].shape[1]
images = np.stack([read(file, size) for file in options.images])
for file, row in zip(options.images, nn.softmax(exported.call(images)), strict=True):
    print(file, int(row.argmax()), f"{float(row.max()):.3f}")
