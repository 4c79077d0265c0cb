"""Made images: noise with random labels, for measuring speed and trying a recipe without its data."""

import dataclasses

import numpy as np

from alexnet_jax.data.fingerprint import digest
from alexnet_jax.data.sources.base import Example, SourceSettings

POOL_IMAGES = (
    256  # different images; longer data sets repeat them, so that any length fits in memory
)
EVAL_FRACTION = 4  # one evaluation example for so many training examples


@dataclasses.dataclass(frozen=True)
class SyntheticSource:
    """A data set of any length over a pool of noise images.

    Attributes:
      images: The pool, [n, height, width, 3] uint8.
      labels: One label each, [n] int32.
      length: Number of examples.
      num_classes: How many classes the labels were drawn from.
    """

    images: np.ndarray
    labels: np.ndarray
    length: int
    num_classes: int

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels as text."""
        return tuple(str(label) for label in range(self.num_classes))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Example:
        place = index % len(self.images)
        return {"image": self.images[place], "label": int(self.labels[place])}

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the images and labels at ``indices``."""
        places = indices % len(self.images)
        return self.images[places], self.labels[places]

    def fingerprint(self) -> str:
        """Returns a digest of the pool and the length."""
        return digest([self.images, self.labels, str(self.length)])


def open_split(settings: SourceSettings, split: str) -> SyntheticSource:
    """Makes a split from the seed: ``synthetic_examples`` for training, a quarter as many for evaluation."""
    length = settings.synthetic_examples
    if split == "eval":
        length = max(1, length // EVAL_FRACTION)
    generator = np.random.Generator(np.random.Philox([settings.seed, int(split == "eval")]))
    pool = min(length, POOL_IMAGES)
    shape = (pool, settings.image_size, settings.image_size, 3)
    images = generator.integers(0, 256, shape, np.uint8)
    labels = generator.integers(0, settings.num_classes, pool, np.int32)
    return SyntheticSource(images, labels, length, settings.num_classes)
