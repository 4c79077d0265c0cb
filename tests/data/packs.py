"""What the tests of packing share."""

from pathlib import Path

from alexnet_jax import __main__ as door
from alexnet_jax.data.sources import packed
from tests.data.folders import source_settings


def open_packed(root: Path, split: str = "train", protocol: str = "center") -> packed.PackedSource:
    return packed.open_split(source_settings(root, eval_protocol=protocol), split)


def contents(root: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(root.iterdir())}


def pack(source: str, out: Path, *options: str) -> int:
    return door.main(["pack", source, str(out), *options])
