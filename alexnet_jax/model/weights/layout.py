"""The two layouts: ours, channels last, and PyTorch's and MindSpore's, channels first.

|                   | ours                          | theirs                        |
|---|---|---|
| convolution       | [height, width, in, out]      | [out, in, height, width]      |
| dense             | [in, out]                     | [out, in]                     |
| first dense's in  | height, width, channels       | channels, height, width       |
"""

import math

import numpy as np


def published_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape that an array of ours has in the publishers' layout."""
    if len(shape) == 4:
        height, width, inputs, outputs = shape
        return outputs, inputs, height, width
    return shape[::-1]


def to_published(array: np.ndarray, channels: int | None) -> np.ndarray:
    """Returns an array of ours in the publishers' layout.

    Args:
      array: A kernel or a vector.
      channels: Of the feature map that the first dense layer flattens; None for every other array.
    """
    if array.ndim == 4:
        return np.ascontiguousarray(array.transpose(3, 2, 0, 1))
    if array.ndim == 2 and channels is not None:
        size = _map_size(array.shape[0], channels)
        kernel = array.reshape(size, size, channels, -1).transpose(3, 2, 0, 1)
        return np.ascontiguousarray(kernel).reshape(array.shape[::-1])
    return np.ascontiguousarray(array.T)


def from_published(array: np.ndarray, channels: int | None) -> np.ndarray:
    """Returns an array in our layout; the inverse of ``to_published``."""
    if array.ndim == 4:
        return np.ascontiguousarray(array.transpose(2, 3, 1, 0))
    if array.ndim == 2 and channels is not None:
        size = _map_size(array.shape[1], channels)
        kernel = array.reshape(-1, channels, size, size).transpose(2, 3, 1, 0)
        return np.ascontiguousarray(kernel).reshape(array.shape[::-1])
    return np.ascontiguousarray(array.T)


def _map_size(features: int, channels: int) -> int:
    """Returns the height and width of a flattened square feature map, in pixels."""
    return math.isqrt(features // channels)
