"""Batches by step: read, decode and gather on the host, ahead of the device that consumes them."""

import concurrent.futures
import dataclasses
import os
import threading
import zlib
from collections.abc import Generator
from typing import NotRequired, Protocol, TypedDict

import grain
import numpy as np

from alexnet_jax.data.broken import BrokenImages
from alexnet_jax.data.decode import Decoder
from alexnet_jax.data.order import PADDING
from alexnet_jax.data.sources.base import InMemory, Reshaped, Source

PREFETCH_BATCHES = 2
# Batches in work at once: while the last images of one are decoded, threads are free for the next one.
BATCHES_AT_ONCE = 2

_CROP = zlib.crc32(b"crop of a file")  # beside a seed below 2^32


class Batch(TypedDict):
    """One process's rows of a global batch.

    ``image`` uint8 [rows, height, width, 3]; ``label`` int32 [rows]; ``mask`` bool [rows], False where a row is
    padding; ``row`` int32 [rows], the row in the global batch; where images were resized to another aspect ratio,
    ``shape`` int32 [rows, 2], the height and width they had.
    """

    image: np.ndarray
    label: np.ndarray
    mask: np.ndarray
    row: np.ndarray
    shape: NotRequired[np.ndarray]


class Order(Protocol):
    """Says which examples make the global batch at a step."""

    def indices(self, step: int) -> np.ndarray:
        """Returns example indices [global batch], ``PADDING`` for none."""
        ...


@dataclasses.dataclass(frozen=True)
class BatchSource:
    """Batches as a random-access data set (Grain's protocol): item i is this process's rows of global batch i.

    Attributes:
      source: The examples.
      order: Which of them make each batch.
      num_steps: How many batches there are.
      rows: The rows of the global batch this process loads.
      seed: Of the decoder's random crops.
      decoder: Turns encoded images into arrays; None for a source of arrays.
      pool: Threads that decode.
      broken: Where unreadable images are noted, each replaced by the next readable one; None lets them fail.
    """

    source: Source
    order: Order
    num_steps: int
    rows: slice
    seed: int
    decoder: Decoder | None
    pool: concurrent.futures.ThreadPoolExecutor
    broken: BrokenImages | None

    def __len__(self) -> int:
        return self.num_steps

    def __getitem__(self, step: int) -> Batch:
        indices = self.order.indices(step)
        row = np.arange(len(indices), dtype=np.int32)[self.rows]
        indices = indices[self.rows]
        mask = indices != PADDING
        present = np.where(mask, indices, 0)
        if isinstance(self.source, InMemory):
            images, labels = self.source.gather(present)
        else:
            images, labels = self._decode(present, step, row, mask)
        batch: Batch = {"image": images, "label": labels, "mask": mask, "row": row}
        if isinstance(self.source, Reshaped) and self.source.shapes is not None:
            batch["shape"] = self.source.shapes[present]
        return batch

    def _decode(
        self, indices: np.ndarray, step: int, rows: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        decoder = self.decoder
        assert decoder is not None, "a source of encoded images needs a decoder"

        def load(index: int, row: int) -> tuple[np.ndarray, int]:
            example = self.source[index]
            # Addressed by seed, name, step and global row, as the device's keys are.
            key = np.array([self.seed | (_CROP << 32), (step << 24) | row], np.uint64)
            generator = np.random.Generator(np.random.Philox(key=key))
            return decoder(example["image"], generator), example["label"]

        def load_readable(index: int, row: int) -> tuple[np.ndarray, int]:
            if self.broken is None:
                return load(index, row)
            return self.broken.first_readable(self.source, index, lambda place: load(place, row))

        # The threads that decode write into the batch, so that nothing is left to do after the last image.
        images: list[
            np.ndarray
        ] = []  # the batch's array, made when the first image's shape is known
        lock = threading.Lock()

        def place(index: int, row: int, at: int) -> int:
            image, label = load_readable(index, row)
            with lock:
                if not images:
                    images.append(np.empty((len(indices), *image.shape), image.dtype))
            images[0][at] = image
            return label

        # Padding is not decoded, it stays zero; where a process has nothing else, one image tells the shape.
        wanted = np.flatnonzero(mask) if mask.any() else np.zeros(1, np.intp)
        labels = np.zeros(len(indices), np.int32)
        labels[wanted] = list(
            self.pool.map(place, indices[wanted].tolist(), rows[wanted].tolist(), wanted.tolist())
        )
        images[0][~mask], labels[~mask] = 0, 0
        return images[0], labels


def iterate(
    source: Source,
    order: Order,
    *,
    start_step: int,
    stop_step: int,
    rows: slice,
    decoder: Decoder | None,
    seed: int,
    num_threads: int,
    broken: BrokenImages | None = None,
) -> Generator[Batch]:
    """Yields the batches of steps ``start_step`` to ``stop_step - 1``, loaded ahead in background threads.

    Args:
      source: The examples.
      order: Which of them make each batch.
      start_step: First step.
      stop_step: One past the last step.
      rows: The rows of the global batch to load.
      decoder: For encoded images.
      seed: Of the decoder's random crops.
      num_threads: Decoding threads; 0 for one a processor.
      broken: Notes unreadable images, which are replaced; None lets the first one fail.
    """
    num_threads = num_threads or os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(num_threads, "alexnet-decode") as pool:
        batches = BatchSource(source, order, stop_step, rows, seed, decoder, pool, broken)
        options = grain.ReadOptions(BATCHES_AT_ONCE, PREFETCH_BATCHES)
        dataset = grain.MapDataset.source(batches)[start_step:].to_iter_dataset(options)
        iterator = iter(dataset)
        try:
            yield from iterator
        finally:
            iterator.close()
