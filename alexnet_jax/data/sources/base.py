"""What a data set looks like to the pipeline."""

import dataclasses
import os
from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np

from alexnet_jax.data.fingerprint import digest

SPLITS = ("train", "eval")


class Example(TypedDict):
    """One image with its class.

    ``image`` is uint8 [height, width, 3], or the bytes of an encoded file; ``label`` is in [0, num_classes).
    """

    image: Any
    label: int


class Source(Protocol):
    """A random-access data set (Grain's protocol) with what a run must know of it."""

    @property
    def num_classes(self) -> int:
        """How many classes the labels come from."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """Their names, by label."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...

    def fingerprint(self) -> str:
        """Returns a short digest that changes when the data changes."""
        ...


@runtime_checkable
class InMemory(Protocol):
    """A source whose images are arrays of one shape: a batch is gathered at once."""

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns images [n, height, width, 3] uint8 and labels [n] int32."""
        ...


@runtime_checkable
class Reshaped(Protocol):
    """A source of arrays that were resized without keeping their aspect ratio.

    Attributes:
      shapes: [n, 2] int32, the height and width each image had before; None where its shape was kept.
    """

    shapes: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class SourceSettings:
    """What a source may need to open itself; each reads what concerns it.

    Attributes:
      path: Directory of the data; of ~ and ~USER at its start, which no shell expands behind ``=`` or ``:``, the
        home directory is made.
      image_size: Height and width of the network's input, in pixels.
      num_classes: Of the model.
      synthetic_examples: Training examples of made data.
      seed: Of made data.
      name: Of a TFDS data set; empty where ``path`` says it all.
      train_split: In TFDS's notation.
      eval_split: In TFDS's notation; empty for what the data set has.
      eval_protocol: How evaluation looks at an image; packed data hold more than one view.
      eval_fraction: Of a folder that nothing divides into training and evaluation images: what share of each class to
        evaluate with; 0 to insist on a division.
      cache_dir: Where long listings may be kept; empty for nowhere.
    """

    path: str
    image_size: int
    num_classes: int
    synthetic_examples: int
    seed: int
    name: str = ""
    train_split: str = "train"
    eval_split: str = ""
    eval_protocol: str = "center"
    eval_fraction: float = 0.0
    cache_dir: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.path.expanduser(self.path))


@dataclasses.dataclass(frozen=True)
class ArraySource:
    """A data set held in memory.

    Attributes:
      images: [n, height, width, 3] uint8.
      labels: [n] int32.
      class_names: By label.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """How many classes the labels come from."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        return {"image": self.images[index], "label": int(self.labels[index])}

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the images and labels at ``indices``."""
        return self.images[indices], self.labels[indices]

    def fingerprint(self) -> str:
        """Returns a digest of all pixels and labels."""
        return digest([self.images, self.labels])
