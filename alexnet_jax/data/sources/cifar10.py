"""CIFAR-10 as its authors' binary archive holds it."""

from pathlib import Path

import numpy as np

from alexnet_jax.data.sources.base import ArraySource, SourceSettings
from alexnet_jax.errors import RequestError, reading

IMAGE_SIZE = 32
RECORD_BYTES = 1 + 3 * IMAGE_SIZE * IMAGE_SIZE  # the label, then the R, G and B planes, row by row
CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
FILES = {
    "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "eval": ("test_batch.bin",),
}
FOLDERS = (".", "cifar-10-batches-bin", "cifar-10-verify-bin")

HOW_TO = (
    "download CIFAR-10's binary version (cifar-10-binary.tar.gz), unpack it, and pass the directory that holds "
    "cifar-10-batches-bin as --config.data.path=DIR."
)


def open_split(settings: SourceSettings, split: str) -> ArraySource:
    """Reads the five training files or the test file.

    ``settings.path`` is the folder of the files or one that contains cifar-10-batches-bin and, in the MindSpore
    layout, cifar-10-verify-bin for the test file.

    Raises:
      RequestError: If a file is missing, unreadable, empty, cut short, or holds a label above 9.
    """
    if not settings.path:
        raise RequestError(f"data.source='cifar10_binary' needs data.path; {HOW_TO}")
    records = np.concatenate([_read(_find(Path(settings.path), name)) for name in FILES[split]])
    planes = records[:, 1:].reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return ArraySource(images, records[:, 0].astype(np.int32), CLASS_NAMES)


def _find(root: Path, name: str) -> Path:
    with reading(root):
        for folder in FOLDERS:
            if (root / folder / name).is_file():
                return root / folder / name
    raise RequestError(f"data.path={str(root)!r} holds no CIFAR-10 file {name}; {HOW_TO}")


def _read(file: Path) -> np.ndarray:
    """Returns the file's records [n, 3073] uint8."""
    with reading(file):
        size = file.stat().st_size
    if size == 0 or size % RECORD_BYTES:
        raise RequestError(
            f"{file} has {size} bytes, which is not a whole number of {RECORD_BYTES}-byte records: it is empty, "
            "cut short, or not CIFAR-10's binary version; download it again."
        )
    with reading(file):
        records = np.fromfile(file, np.uint8).reshape(-1, RECORD_BYTES)
    if np.max(records[:, 0]) >= len(CLASS_NAMES):
        bad = int(np.argmax(records[:, 0] >= len(CLASS_NAMES)))
        raise RequestError(
            f"{file}, record {bad}, has the label {records[bad, 0]}; CIFAR-10's are 0 to 9: the file is damaged or "
            "another data set (CIFAR-100 has two labels a record)."
        )
    return records
