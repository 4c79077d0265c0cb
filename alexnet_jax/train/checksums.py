"""SHA-256 sums of a checkpoint's files, in the form of ``sha256sum``: `cd STEP && sha256sum --check sha256sums.txt`."""

import hashlib
import os
from pathlib import Path

FILE = "sha256sums.txt"

# Orbax writes these after the sums that are renamed into place with the checkpoint: they are listed a moment later.
WRITTEN_LAST = frozenset({"_CHECKPOINT_METADATA", "commit_success.txt"})


def write(directory: Path, *, without: frozenset[str] = frozenset()) -> None:
    """Writes the sums of every file below ``directory``, replacing those that are there at once.

    Args:
      directory: Of one checkpoint.
      without: Files not to list.

    Raises:
      OSError: If a file cannot be read or the sums cannot be written.
    """
    lines = [
        f"{_sum(directory / name)}  {name}\n" for name in _files(directory) if name not in without
    ]
    temporary = directory / f"{FILE}.tmp"
    temporary.write_text("".join(lines))
    os.replace(temporary, directory / FILE)


def exist(directory: Path) -> bool:
    """Returns whether a checkpoint has sums; those of earlier versions have none."""
    return (directory / FILE).exists()


def complete(directory: Path) -> None:
    """Lists the files that Orbax wrote last, once the checkpoint has its final name.

    Raises:
      OSError: If a file cannot be read or the sums cannot be written.
    """
    listed = (directory / FILE).read_text()
    names = {_parse(line)[0] for line in listed.splitlines(keepends=True)}
    late = sorted(name for name in WRITTEN_LAST - names if (directory / name).exists())
    lines = [f"{_sum(directory / name)}  {name}\n" for name in late]
    if lines:
        temporary = directory / f"{FILE}.tmp"
        temporary.write_text(listed + "".join(lines))
        os.replace(temporary, directory / FILE)


def find_damage(directory: Path) -> str:
    """Returns what differs from the sums, e.g. "state/d/0f3a is missing"; empty where all is as it was written."""
    try:
        text = (directory / FILE).read_text()
        listed = dict(_parse(line) for line in text.splitlines(keepends=True))
    except (OSError, ValueError) as error:
        return f"{FILE} cannot be read ({error})"
    present = set(_files(directory))
    for name in sorted(present | listed.keys()):
        if name not in present:
            return f"{name} is missing"
        if name not in listed:
            if name in WRITTEN_LAST:
                continue
            return f"{name} is not in {FILE}"
        try:
            found = _sum(directory / name)
        except OSError as error:
            return f"{name} cannot be read ({error})"
        if found != listed[name]:
            return f"{name} is not what was written"
    return "" if listed else f"{FILE} is empty"


def _parse(line: str) -> tuple[str, str]:
    digest, separator, name = line.partition("  ")
    if not separator or not name.endswith("\n"):
        raise ValueError(f"not a line of sums: {line[:80]!r}")
    return name[:-1], digest


def _files(directory: Path) -> list[str]:
    own = {FILE, f"{FILE}.tmp"}
    names = (
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    )
    return sorted(name for name in names if name not in own)


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
