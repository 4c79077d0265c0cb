"""Batches of indices in place of images, for data that lie on the device already."""

import dataclasses
from collections.abc import Generator, Iterable
from typing import Any

import numpy as np

from alexnet_jax.data.order import TrainOrder
from alexnet_jax.data.sources.base import Example, Reshaped, Source


@dataclasses.dataclass(frozen=True)
class IndexSource:
    """The labels of a source of arrays; where its image would be is the example's index, int32.

    Attributes:
      source: With an array of ``labels``.
    """

    source: Any

    @property
    def num_classes(self) -> int:
        """How many classes the labels come from."""
        return self.source.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Their names, by label."""
        return self.source.class_names

    @property
    def shapes(self) -> np.ndarray | None:
        """The height and width each image had, [n, 2], where it was resized to another aspect ratio."""
        return self.source.shapes if isinstance(self.source, Reshaped) else None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        return {"image": np.int32(index), "label": int(self.source.labels[index])}

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the indices themselves, [n] int32, and the labels there."""
        return indices.astype(np.int32), self.source.labels[indices]

    def fingerprint(self) -> str:
        """Returns the source's."""
        return self.source.fingerprint()


def iterate_steps(
    source: IndexSource, order: TrainOrder, spans: Iterable[tuple[int, int]], most: int
) -> Generator[dict[str, Any]]:
    """Yields the training batches of several steps at once.

    Args:
      source: The labels.
      order: Which examples make each batch.
      spans: (first step, one past the last) of each group of steps.
      most: Steps of the longest.

    Yields:
      "steps": "image" (the examples' indices), "label" and "row", int32, and "mask", bool, each [most, batch], and
      "shape" where the source has shapes; and "count", how many steps of them are meant.
    """
    row = np.tile(np.arange(order.batch_size, dtype=np.int32), (most, 1))
    for first, stop in spans:
        indices = np.zeros_like(row)
        for place, step in enumerate(range(first, stop)):
            indices[place] = order.indices(step)
        _, labels = source.gather(indices)
        steps = {"image": indices, "label": labels, "mask": np.ones(row.shape, bool), "row": row}
        if source.shapes is not None:
            steps["shape"] = source.shapes[indices]
        yield {"steps": steps, "count": np.int32(stop - first)}


def array_bytes(source: Source) -> int | None:
    """Returns the size of all images of a source of arrays; None where its images are not one array with labels."""
    labels = getattr(source, "labels", None)
    if labels is None or len(labels) != len(source) or not hasattr(source, "gather"):
        return None
    return len(source) * int(source[0]["image"].nbytes)
