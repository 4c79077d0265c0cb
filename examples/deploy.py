"""Runs an exported model: JAX alone computes, alexnet_jax only reads the images.

python -m alexnet_jax export --weights alexnet.pth alexnet.stablehlo
python examples/deploy.py alexnet.stablehlo photo.jpg ...
"""

import argparse
from pathlib import Path

from jax import export, nn

from alexnet_jax import preprocess

parser = argparse.ArgumentParser(description="Labels images with an exported model.")
parser.add_argument("model", type=Path, help="made by: python -m alexnet_jax export")
parser.add_argument("images", nargs="+")
options = parser.parse_args()

exported = export.deserialize(bytearray(options.model.read_bytes()))
size = exported.in_avals[0].shape[1]
probabilities = nn.softmax(exported.call(preprocess(options.images, image_size=size)))
for file, row in zip(options.images, probabilities, strict=True):
    print(file, int(row.argmax()), f"{float(row.max()):.3f}")
