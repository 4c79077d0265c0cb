"""The formats of files of weights: one row each, recognised by their first bytes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from alexnet_jax.errors import RequestError, reading
from alexnet_jax.model.weights import mindspore_file, safetensors_file, torch_file
from alexnet_jax.model.weights.stored import Stored

HEAD_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
      name: What people call it.
      begins: Whether a file with this beginning is one.
      read: Describes what a file holds.
    """

    name: str
    begins: Callable[[bytes], bool]
    read: Callable[[Path], Stored]


FORMATS = (
    Format(
        "PyTorch (zip)",
        # "PK" alone is also how the length of a .safetensors header can begin.
        begins=lambda head: head.startswith(b"PK\x03\x04"),
        read=torch_file.read_zip,
    ),
    Format(
        "PyTorch (before 1.6)",
        begins=lambda head: torch_file.LEGACY_BEGINNING in head,
        read=torch_file.read_legacy,
    ),
    Format(
        "safetensors",
        begins=lambda head: head[8:9] == b"{",  # after the header's length, 8 bytes
        read=safetensors_file.read,
    ),
    Format(
        "MindSpore",
        begins=lambda head: head.startswith(mindspore_file.BEGINNING),
        read=mindspore_file.read,
    ),
)


def read(path: Path) -> Stored:
    """Describes what a file of weights holds.

    Raises:
      RequestError: If there is no such file, it cannot be read, it is of no known format, or it is damaged.
    """
    if not path.is_file():
        raise RequestError(f"{path}: there is no such file; name a file of weights or a workdir.")
    with reading(path):
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        for row in FORMATS:
            if row.begins(head):
                return row.read(path)
    known = ", ".join(row.name for row in FORMATS)
    raise RequestError(f"{path} is no file of weights of a known format; the formats are: {known}.")
