"""What a finished run says about itself to those who use its weights: its classes and how it looked at images."""

import json
from pathlib import Path
from typing import Any

from alexnet_jax.data.preprocess import PLANS
from alexnet_jax.train.checkpoint import DIRECTORY
from alexnet_jax.train.writers import CONFIG_FILE, write_json

CLASSES_FILE = "classes.json"


def workdir_of(weights: Path) -> Path | None:
    """Returns the workdir that weights are in: one itself, or of WORKDIR/checkpoints/STEP; None for a file."""
    if not weights.is_dir():
        return None
    return weights.parent.parent if weights.parent.name == DIRECTORY else weights


def write_classes(workdir: Path, names: tuple[str, ...]) -> None:
    """Notes the names of a run's classes, by label."""
    write_json(workdir / CLASSES_FILE, list(names))


def class_names(workdir: Path) -> tuple[str, ...] | None:
    """Returns the names of a run's classes by label; None for a run that did not note them."""
    path = workdir / CLASSES_FILE
    return tuple(json.loads(path.read_text())) if path.is_file() else None


def look(workdir: Path, image_size: int) -> dict[str, Any]:
    """Returns how a run's evaluation looked at an image, as arguments of ``preprocess``.

    Of ten crops, the one in the middle.

    Args:
      workdir: Of the run.
      image_size: Of its network's input, in pixels.
    """
    path = workdir / CONFIG_FILE
    if not path.is_file():
        return {"image_size": image_size}
    config = json.loads(path.read_text())
    protocol, resized = config["eval"]["protocol"], config["eval"]["resize_pixels"]
    if resized is None and protocol != "ten_crop":
        resized = image_size
    return {
        "image_size": image_size,
        "resize_pixels": resized or None,  # None: 8/7 of the input
        "protocol": protocol if protocol in PLANS else "center",
        "mean": tuple(config["data"]["mean"]),
        "std": tuple(config["data"]["std"]),
    }
