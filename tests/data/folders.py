"""Folders of photographs, and how a test opens them or other data."""

from pathlib import Path

from alexnet_jax.data.sources import folder
from alexnet_jax.data.sources.base import SourceSettings
from tests.data.photos import jpeg, truncated


def write_folder(root: Path, per_class: int = 5, broken: tuple[int, ...] = ()) -> None:
    """Two classes of JPEGs in train/ and val/; ``broken`` are places in the training split."""
    for split in ("train", "val"):
        for number in range(2 * per_class):
            file = root / split / f"class{number // per_class}" / f"{split}{number:03}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            cut = split == "train" and number in broken
            file.write_bytes(truncated(number) if cut else jpeg(number + 7 * (split == "val")))


def source_settings(root: Path, **changes) -> SourceSettings:
    """How a source is opened, images of 32 pixels in two classes unless changed."""
    values = {"image_size": 32, "num_classes": 2, "synthetic_examples": 1, "seed": 0}
    return SourceSettings(path=str(root), **values | changes)


def open_folder(root: Path, split: str = "train") -> folder.FolderSource:
    return folder.open_split(source_settings(root), split)
