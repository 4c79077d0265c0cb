"""TFRecord files by index, for packing TFDS copies that were prepared in this older format."""

import bisect
import itertools
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alexnet_jax.errors import RequestError

# A record: its length (uint64, little-endian), a checksum of that, the data, a checksum of those. Source:
# TensorFlow's documentation of tf.data.TFRecordDataset.
HEADER_BYTES = 8 + 4
FOOTER_BYTES = 4


class TfrecordFiles:
    """The records of several files, one after the other. Checksums are not verified."""

    def __init__(self, instructions: Iterable[Any]):
        """Finds where each record begins, which reads the 12 bytes before it.

        Args:
          instructions: TFDS's: each has filename, skip (records) and take (records, -1 for all).
        """
        self._files: list[Path] = []
        self._places: list[list[tuple[int, int]]] = []
        for instruction in instructions:
            places = _places(Path(instruction.filename))
            stop = None if instruction.take == -1 else instruction.skip + instruction.take
            self._files.append(Path(instruction.filename))
            self._places.append(places[instruction.skip : stop])
        self._starts = [0, *itertools.accumulate(map(len, self._places))]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> bytes:
        file = bisect.bisect_right(self._starts, index) - 1
        start, length = self._places[file][index - self._starts[file]]
        descriptor = os.open(self._files[file], os.O_RDONLY)
        try:
            return os.pread(descriptor, length, start)
        finally:
            os.close(descriptor)


def _places(file: Path) -> list[tuple[int, int]]:
    """Returns the start and length in bytes of each record's data."""
    places, position, size = [], 0, file.stat().st_size
    with file.open("rb") as stream:
        while position < size:
            stream.seek(position)
            header = stream.read(HEADER_BYTES)
            length = struct.unpack("<Q", header[:8])[0] if len(header) == HEADER_BYTES else size
            following = position + HEADER_BYTES + length + FOOTER_BYTES
            if following > size:
                raise RequestError(f"{file} is cut short at byte {size}; copy or prepare it again.")
            places.append((position + HEADER_BYTES, length))
            position = following
    return places
