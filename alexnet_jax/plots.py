"""Pictures of a network and of what it makes of an image: matplotlib axes, and a PNG file where a path is given.

Needs matplotlib: pip install -e '.[plots]'. The figures of section 6.1 are those of the 2012 paper.
"""

import math
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from jax import numpy as jnp

from alexnet_jax.data import imagenet
from alexnet_jax.errors import RequestError
from alexnet_jax.model import functional
from alexnet_jax.model.alexnet import AlexNet

Path = str | PathLike[str]
NEIGHBOURS = 5


def filters(model: AlexNet, path: Path | None = None) -> Any:
    """Draws the first layer's kernels as a grid of colour images, each stretched to its own range (figure 3).

    Args:
      model: Of any variant.
      path: PNG to write.

    Returns:
      The axes.
    """
    _, params, _ = functional.split(model)
    kernels = np.moveaxis(np.asarray(params["conv1"]["kernel"]), -1, 0)
    return _one(_grid([_stretched(kernel) for kernel in kernels]), "first layer's filters", path)


def activations(model: AlexNet, image: Any, layer: str = "relu1", path: Path | None = None) -> Any:
    """Draws a layer's maps for one image as a grid of grey images, each stretched to its own range.

    Args:
      model: Of any variant.
      image: Normalised, [size, size, 3].
      layer: One of ``model.features``' names, of a layer with maps.
      path: PNG to write.

    Returns:
      The axes.

    Raises:
      RequestError: If the layer has no maps.
    """
    features = model.features(jnp.asarray(image)[None])
    with_maps = [name for name, x in features.items() if x.ndim == 4]
    if layer not in with_maps:
        raise RequestError(f"layer={layer!r} has no maps; use one of: {', '.join(with_maps)}.")
    maps = np.moveaxis(np.asarray(features[layer][0], np.float32), -1, 0)
    return _one(_grid([_stretched(own) for own in maps]), layer, path)


def top5(
    probabilities: Any, names: Sequence[str], label: int | None = None, path: Path | None = None
) -> Any:
    """Draws the five likeliest classes of one image as bars, the true one in another colour (figure 4, left).

    Args:
      probabilities: [classes].
      names: Of the classes; of ImageNet's only the first is shown.
      label: The true class, where it is known.
      path: PNG to write.

    Returns:
      The axes.
    """
    row = np.asarray(probabilities)
    best = np.argsort(-row, kind="stable")[:5]
    (axes,) = _axes(1)
    colors = ["tab:red" if place == label else "tab:blue" for place in best]
    axes.barh(range(len(best)), row[best], color=colors)
    axes.set_yticks(range(len(best)), [imagenet.short(names[place]) for place in best])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability")
    return _finished(axes, path)


def nearest(vectors: Any, query: Any, count: int = NEIGHBOURS) -> np.ndarray:
    """Returns the places of the vectors nearest to one, by Euclidean distance, the nearest first.

    Args:
      vectors: [n, width], e.g. the activations "relu7".
      query: [width].
      count: How many.
    """
    distances = np.linalg.norm(np.asarray(vectors) - np.asarray(query), axis=1)
    return np.argsort(distances, kind="stable")[:count]


def neighbours(
    model: AlexNet,
    images: Any,
    query: Any,
    *,
    layer: str = "relu7",
    count: int = NEIGHBOURS,
    path: Path | None = None,
) -> list[Any]:
    """Draws an image and the nearest to it in the space of a layer (figure 4, right).

    Args:
      model: Of any variant.
      images: Normalised, [n, size, size, 3].
      query: Normalised, [size, size, 3].
      layer: Whose activations are compared; fc7's, after its ReLU.
      count: How many to draw.
      path: PNG to write.

    Returns:
      One axes for the query, and one for each neighbour.

    Raises:
      RequestError: If there is no such layer.
    """
    batch = np.concatenate([np.asarray(query)[None], np.asarray(images)])
    features = model.features(jnp.asarray(batch))
    if layer not in features:
        raise RequestError(f"there is no layer {layer!r}; use one of: {', '.join(features)}.")
    vectors = np.asarray(features[layer], np.float32).reshape(len(batch), -1)
    places = nearest(vectors[1:], vectors[0], count)
    all_axes = _axes(1 + len(places))
    for axes, place in zip(all_axes, (0, *(places + 1)), strict=True):
        axes.imshow(_stretched(batch[place]))
        axes.set_axis_off()
        axes.set_title("query" if place == 0 else str(place - 1))
    _finished(all_axes[0], path)
    return all_axes


def _axes(count: int) -> list[Any]:
    """Returns the axes of a new figure, side by side; pyplot and its global state are not used."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RequestError(
            "plots need matplotlib: pip install -e '.[plots]' in the checkout."
        ) from error
    figure = Figure(figsize=(3 * count + 3 * (count == 1), 4), layout="constrained")
    return list(figure.subplots(1, count, squeeze=False)[0])


def _one(picture: np.ndarray, title: str, path: Path | None) -> Any:
    (axes,) = _axes(1)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
    axes.set_title(title)
    return _finished(axes, path)


def _finished(axes: Any, path: Path | None) -> Any:
    if path is not None:
        axes.figure.savefig(path, format="png")
    return axes


def _stretched(picture: np.ndarray) -> np.ndarray:
    """Returns a picture moved and scaled to [0, 1]."""
    low, high = float(picture.min()), float(picture.max())
    return (picture - low) / max(high - low, 1e-12)


def _grid(tiles: list[np.ndarray]) -> np.ndarray:
    """Returns tiles [height, width, ...] in a nearly square grid, a white pixel between them."""
    columns = math.ceil(math.sqrt(len(tiles)))
    height, width, *colors = tiles[0].shape
    rows = -(-len(tiles) // columns)
    picture = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, *colors), np.float32)
    for number, tile in enumerate(tiles):
        top, left = (number // columns) * (height + 1), (number % columns) * (width + 1)
        picture[top : top + height, left : left + width] = tile
    return picture
