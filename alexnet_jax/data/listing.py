"""Lists a tree of images, one folder a class, and remembers the list while the tree stays the same."""

import contextlib
import errno
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from alexnet_jax.data.fingerprint import digest
from alexnet_jax.errors import reading

EXTENSIONS = (".jpeg", ".jpg", ".png")
CACHED_FROM = 10_000  # images; fewer are listed in less time than it takes to read a cache
# A folder changed so shortly before the scan may change again without its time showing it (network file systems count
# whole seconds).
SETTLED_SECONDS = 2.0


def list_images(
    root: Path, class_names: tuple[str, ...], cache: Path | None
) -> tuple[list[str], list[int]]:
    """Returns each image's path relative to ``root`` and its label, sorted by class and name.

    Args:
      root: Of the class folders.
      class_names: Of the folders, by label.
      cache: A file to keep a long list in, in a directory of the run; None keeps none. It is valid while every class
        folder has the modification time it had: adding, removing or renaming a file changes that.

    Raises:
      RequestError: If a folder cannot be read.
    """
    times = [_modified(root / name) for name in class_names]
    signature = digest([str(root.absolute()), json.dumps([class_names, times])])
    names = _read(cache, signature, len(class_names)) if cache else None
    if names is None:
        started = time.time()
        names = _scan(root, class_names)
        settled = max(times, default=0) / 1e9 < started - SETTLED_SECONDS
        if cache and settled and sum(map(len, names)) >= CACHED_FROM:
            _write(cache, {"signature": signature, "names": names})
    paths = [f"{name}/{file}" for name, own in zip(class_names, names, strict=True) for file in own]
    labels = [label for label, own in enumerate(names) for _ in own]
    return paths, labels


def class_folders(root: Path) -> tuple[str, ...]:
    """Returns the names of the folders in ``root``, sorted, but for hidden ones such as .ipynb_checkpoints.

    Raises:
      RequestError: If ``root``, or what lies in it, cannot be read.
    """
    with reading(root), os.scandir(root) as entries:
        return tuple(
            sorted(e.name for e in entries if not e.name.startswith(".") and _is_folder(e))
        )


def images(folder: Path) -> Iterator[str]:
    """Yields the names of a folder's images, but for hidden files such as a Mac's ._NAME.jpg, which are none.

    Raises:
      RequestError: If ``folder`` cannot be read.
    """
    with reading(folder), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith("."):
                yield entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Returns whether an entry is a folder, or a link to one; a link that leads back to itself is none."""
    with reading(Path(entry)):
        try:
            return entry.is_dir()
        except OSError as error:
            if error.errno == errno.ELOOP:
                return False
            raise


def _modified(folder: Path) -> int:
    """Returns a folder's modification time, in nanoseconds."""
    with reading(folder):
        return folder.stat().st_mtime_ns


def _scan(root: Path, class_names: tuple[str, ...]) -> list[list[str]]:
    console = Console(stderr=True, emoji=False)
    bar = Progress(
        TextColumn("{task.description}", markup=False),  # a path as it is, with its : and [
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        shown = bar.track(class_names, description=f"listing {root}")
        return [sorted(images(root / name)) for name in shown]


def _read(cache: Path, signature: str, num_classes: int) -> list[list[str]] | None:
    """Returns the names kept under a signature; None also where the file is damaged, which costs one scan."""
    try:
        kept = json.loads(cache.read_text())
        names = kept["names"] if kept["signature"] == signature else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return names if _are_names(names, num_classes) else None


def _are_names(value: Any, num_classes: int) -> bool:
    """Returns whether a value read from a file is one list of strings a class."""
    return (
        isinstance(value, list)
        and len(value) == num_classes
        and all(isinstance(own, list) for own in value)
        and all(isinstance(name, str) for own in value for name in own)
    )


def _write(cache: Path, value: dict[str, Any]) -> None:
    # Each process of a run writes it.
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}.tmp")
    # Where it cannot be kept (a full disk, one that is read-only), the next start lists the tree again.
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(json.dumps(value))
            os.replace(temporary, cache)
        except OSError:
            temporary.unlink(missing_ok=True)
