"""Weights, images and labels that depend on no library's random streams but NumPy's fixed Philox generator."""

import zlib

import numpy as np


def uniform(name, shape):
    """Returns float32 numbers in [-1, 1), determined by ``name`` alone."""
    raw = np.random.Philox(key=zlib.crc32(name.encode())).random_raw(int(np.prod(shape)))
    return ((raw >> 40).astype(np.float32) / 2**23 - 1).reshape(shape)


def weights_like(tree, prefix=""):
    """Returns parameters and batch statistics of the shapes of ``tree``, layer -> name -> array.

    Kernels keep the variance of what flows through (He et al., arXiv:1502.01852); biases and statistics are far
    enough from 0 and 1 for their absence to show.
    """
    return {
        layer: {
            name: _draw(f"{prefix}{layer}/{name}", name, leaf.shape)
            for name, leaf in leaves.items()
        }
        for layer, leaves in tree.items()
    }


def _draw(address, name, shape):
    numbers = uniform(address, shape)
    if name == "kernel":
        return numbers * np.sqrt(6 / np.prod(shape[:-1])).astype(np.float32)
    if name in ("scale", "var"):
        return 1 + 0.5 * numbers
    return 0.1 * numbers


def images(batch, size, name="images"):
    """Returns normalised images [batch, size, size, 3]."""
    return 2 * uniform(name, (batch, size, size, 3))


def labels(batch, num_classes, name="labels"):
    """Returns int32 labels [batch]."""
    return (((uniform(name, (batch,)) + 1) / 2) * num_classes).astype(np.int32)
