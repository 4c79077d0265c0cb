"""From what a person names on the command line to image files."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from alexnet_jax.data.listing import EXTENSIONS


def expand(names: Iterable[str], lines: Iterable[str]) -> Iterator[str]:
    """Yields the files that are meant: a directory means all images below it, sorted, but for hidden ones.

    Args:
      names: Files and directories; "-" means the files and directories that ``lines`` name.
      lines: One name each; read only where it is asked for.
    """
    for name in names:
        if name == "-":
            yield from expand((line.strip() for line in lines if line.strip() not in ("", "-")), ())
        elif Path(name).is_dir():
            found = (path for path in Path(name).rglob("*") if path.suffix.lower() in EXTENSIONS)
            shown = (path for path in found if not _is_hidden(path.relative_to(name)))
            yield from sorted(str(path) for path in shown if path.is_file())
        else:
            yield name


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
