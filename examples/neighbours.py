"""The images of a folder that a network finds most alike, by their activations before the classifier.

python examples/neighbours.py alexnet.pth photos/ photo.jpg
"""

import sys
from pathlib import Path

import alexnet_jax
from alexnet_jax import plots

weights, folder, query = sys.argv[1:4]
model = alexnet_jax.load(weights)
files = [query, *sorted(Path(folder).iterdir())]
images = alexnet_jax.preprocess(files, image_size=model.image_size)
features = model.features(images, flatten=True)
print({name: activation.shape for name, activation in features.items()})

layer = "relu7" if "relu7" in features else "flatten"
vectors = features[layer]
for place in plots.nearest(vectors[1:], vectors[0]):
    print(files[1 + place])
