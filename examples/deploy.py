"""Runs an exported model: JAX alone computes, alexnet_jax only reads the images.

python -m alexnet_jax export --weights alexnet.pth alexnet.stablehlo
python examples/deploy.py alexnet.stablehlo photo.jpg ...
"""

import sys
from pathlib import Path

from jax import export, nn

from alexnet_jax import preprocess

model, *files = sys.argv[1:]
exported = export.deserialize(bytearray(Path(model).read_bytes()))
size = exported.in_avals[0].shape[1]
probabilities = nn.softmax(exported.call(preprocess(files, image_size=size)))
for file, row in zip(files, probabilities, strict=True):
    print(file, int(row.argmax()), f"{float(row.max()):.3f}")
