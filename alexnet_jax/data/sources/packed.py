"""Packed data sets: images decoded once, in memory-mapped files of uint8 pixels. ``data/pack.py`` writes them."""

import concurrent.futures
import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.data.fingerprint import digest
from alexnet_jax.data.sources.base import Example, SourceSettings
from alexnet_jax.errors import RequestError, reading

MANIFEST_FILE = "manifest.json"
FORMAT = 1
READERS = 8  # threads that copy rows; on pages not yet in memory each waits for the disk


class PackedSource:
    """A view of a packed data set, e.g. its training images.

    Attributes:
      labels: [n] int32.
      shapes: [n, 2] int32, the height and width each image had before it was packed; None where it kept its shape.
      class_names: By label.
    """

    def __init__(self, root: Path, manifest: dict[str, Any], view: str):
        """Maps a view's shards.

        Args:
          root: The directory of the packed data set.
          manifest: Its manifest.
          view: A key of the manifest's "views".
        """
        described = manifest["views"][view]
        shape = tuple(described["image_shape"])
        self._shards = [
            np.memmap(root / shard["file"], np.uint8, "r", shape=(shard["examples"], *shape))
            for shard in described["shards"]
        ]
        self._shard_examples = described["shards"][0]["examples"]
        self._digest = digest([json.dumps(described, sort_keys=True)])
        self._pool = concurrent.futures.ThreadPoolExecutor(READERS, "alexnet-gather")
        self.image_shape = shape
        self.labels = np.load(root / described["labels"]["file"])
        shapes = described["shapes"]
        self.shapes = np.load(root / shapes["file"]) if shapes else None
        self.class_names = tuple(manifest["class_names"])

    @property
    def num_classes(self) -> int:
        """How many classes the labels come from."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Example:
        shard, place = divmod(index, self._shard_examples)
        return {"image": np.array(self._shards[shard][place]), "label": int(self.labels[index])}

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the images and labels at ``indices``; several threads copy the rows."""
        images = np.empty((len(indices), *self.image_shape), np.uint8)
        shards, places = np.divmod(indices, self._shard_examples)

        def copy(rows: range) -> None:
            for row in rows:
                images[row] = self._shards[shards[row]][places[row]]

        length = math.ceil(len(indices) / READERS)
        parts = [
            range(start, min(start + length, len(indices)))
            for start in range(0, len(indices), length)
        ]
        list(self._pool.map(copy, parts))
        return images, self.labels[indices]

    def fingerprint(self) -> str:
        """Returns a digest of the checksums in the manifest; the files themselves are not read."""
        return self._digest


def open_split(settings: SourceSettings, split: str) -> PackedSource:
    """Opens the training images, or the evaluation images as ``settings.eval_protocol`` sees them.

    Raises:
      RequestError: If ``settings.path`` is no complete packed data set, or a file is missing or cut short.
    """
    root = Path(settings.path)
    manifest = read_manifest(root)
    with refuse_damaged(root / MANIFEST_FILE):
        source = _open_view(root, manifest, split, settings.eval_protocol)
        _check(source)
    return source


# What reading a damaged JSON file, with a missing or odd value, makes Python and NumPy raise.
DAMAGED = (
    *(KeyError, IndexError, TypeError, ValueError, AttributeError),
    *(OverflowError, RecursionError, OSError, MemoryError, EOFError),
)


@contextlib.contextmanager
def refuse_damaged(file: Path) -> Iterator[None]:
    """Raises what ``file``'s odd contents lead to as a RequestError that names it."""
    try:
        yield
    except RequestError:
        raise
    except DAMAGED as error:
        raise RequestError(
            f"{file} is damaged ({type(error).__name__}: {error}). Copy it again, or pack again into another directory."
        ) from error


def _open_view(root: Path, manifest: dict[str, Any], split: str, protocol: str) -> PackedSource:
    for name, file in files(manifest).items():
        size = (root / name).stat().st_size if (root / name).is_file() else None
        if size != file["bytes"]:
            raise RequestError(
                f"{root / name} {'is missing' if size is None else f'has {size} bytes'}; the manifest says "
                f"{file['bytes']}. Copy it again, or pack again into another directory."
            )
    view = split
    if split == "eval" and "eval" not in manifest["views"]:
        view = "eval_squash" if protocol == "squash" else "eval_center"
    return PackedSource(root, manifest, view)


def _check(source: PackedSource) -> None:
    """Raises ValueError where the numbers of a manifest contradict the files."""
    sizes = [len(shard) for shard in source._shards]
    if set(sizes[:-1]) - {sizes[0]} or sizes[-1] > sizes[0] or sum(sizes) != len(source.labels):
        raise ValueError(f"shards of {sizes} images do not hold the {len(source.labels)} labels")
    if len(source.image_shape) != 3 or source.image_shape[2] != 3:
        raise ValueError(f"images of shape {source.image_shape} are not RGB")
    if source.shapes is not None and source.shapes.shape != (len(source), 2):
        raise ValueError(f"there are {len(source.shapes)} shapes of {len(source)} images")
    if len(source) and not 0 <= source.labels.min() <= source.labels.max() < source.num_classes:
        raise ValueError(f"labels to {source.labels.max()}, but {source.num_classes} class names")


def read_manifest(root: Path) -> dict[str, Any]:
    """Returns the manifest of a complete packed data set.

    Raises:
      RequestError: If there is none, it cannot be read, or another version wrote it.
    """
    file = root / MANIFEST_FILE
    with reading(file):
        encoded = file.read_bytes() if file.is_file() else None
    if encoded is None:
        raise RequestError(
            f"data.path={str(root)!r} is no packed data set: it has no {MANIFEST_FILE}. Make one, or finish one that "
            "was interrupted: python -m alexnet_jax pack SOURCE OUT."
        )
    with refuse_damaged(file):
        manifest = json.loads(encoded)
        found = manifest["format"]
    if found != FORMAT:
        raise RequestError(f"{file} is of format {found}, this version reads {FORMAT}; pack again.")
    return manifest


def files(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the size ("bytes") and checksum ("sha256") of every file, by its name.

    Of a damaged manifest it raises any of what ``refuse_damaged`` is for.
    """
    views = manifest["views"].values()
    found = {
        file["file"]: file
        for view in views
        for file in (*view["shards"], view["labels"], view["shapes"])
        if file is not None
    }
    for name in found:
        if name != Path(name).name:
            raise ValueError(f"{name!r} is not the name of a file beside it")
    return found
