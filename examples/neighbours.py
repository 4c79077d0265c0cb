"""The images of a folder that a network finds most alike, by their activations before the classifier.

python examples/neighbours.py alexnet.pth photos/ photo.jpg
"""

import argparse
from pathlib import Path

import alexnet_jax
from alexnet_jax import plots

parser = argparse.ArgumentParser(description="Finds the images of a folder that are most like one.")
parser.add_argument("weights", help="a file of weights or a workdir")
parser.add_argument("folder", type=Path, help="of images alone")
parser.add_argument("query", help="an image")
options = parser.parse_args()

model = alexnet_jax.load(options.weights)
files = [options.query, *sorted(options.folder.iterdir())]
images = alexnet_jax.preprocess(files, image_size=model.image_size)
features = model.features(images, flatten=True)
print({name: activation.shape for name, activation in features.items()})

layer = "relu7" if "relu7" in features else "flatten"
vectors = features[layer]
for place in plots.nearest(vectors[1:], vectors[0]):
    print(files[1 + place])
