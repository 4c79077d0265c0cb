"""The order of the examples: a pure function of the step, so that there is no position to lose."""

import dataclasses
import functools

import numpy as np

PADDING = -1  # stands for "no example" in an evaluation batch


@dataclasses.dataclass(frozen=True)
class TrainOrder:
    """Shuffled epochs without end.

    Each epoch is a fresh permutation, cut into ``num_examples // batch_size`` whole batches; the few examples left
    over differ from epoch to epoch.

    Attributes:
      num_examples: Size of the data set.
      batch_size: Examples in a global batch.
      seed: Of the permutations.
    """

    num_examples: int
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.num_examples // self.batch_size

    def indices(self, step: int) -> np.ndarray:
        """Returns the examples [batch_size] of the global batch at ``step``, counted from 0 over all epochs."""
        epoch, position = divmod(step, self.steps_per_epoch)
        start = position * self.batch_size
        return _permutation(self.num_examples, self.seed, epoch)[start : start + self.batch_size]


@dataclasses.dataclass(frozen=True)
class EvalOrder:
    """Every example once, in order, the last batch filled up with ``PADDING``.

    Attributes:
      num_examples: Size of the data set.
      batch_size: Rows of a batch, padding included.
    """

    num_examples: int
    batch_size: int

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every example was seen."""
        return -(-self.num_examples // self.batch_size)

    def indices(self, step: int) -> np.ndarray:
        """Returns the examples [batch_size] of batch ``step``."""
        indices = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        return np.where(indices < self.num_examples, indices, PADDING)


@functools.lru_cache(maxsize=2)
def _permutation(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    # Sorting Philox's raw output, and not Generator.permutation: NumPy keeps the streams of its bit generators for
    # ever, those of its distributions only within a version.
    numbers = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(num_examples)
    return np.argsort(numbers, kind="stable")
