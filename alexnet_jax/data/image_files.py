"""From what a person names on the command line to image files."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from alexnet_jax.data.listing import EXTENSIONS
from alexnet_jax.errors import reading


def expand(names: Iterable[str], lines: Iterable[str]) -> Iterator[str]:
    """Yields the files that are meant: a directory means all images below it, sorted, but for hidden ones.

    Args:
      names: Files and directories; "-" means the files and directories that ``lines`` name.
      lines: One name each; read only where it is asked for.

    Raises:
      RequestError: If a directory cannot be read.
    """
    for name in names:
        if name == "-":
            yield from expand((line.strip() for line in lines if line.strip() not in ("", "-")), ())
        elif os.path.isdir(name):  # what cannot be looked at is none: it is told of as a file
            yield from _images(Path(name))
        else:
            yield name


def _images(directory: Path) -> list[str]:
    with reading(directory):
        found = (path for path in directory.rglob("*") if path.suffix.lower() in EXTENSIONS)
        shown = (path for path in found if not _is_hidden(path.relative_to(directory)))
        return sorted(str(path) for path in shown if path.is_file())


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
