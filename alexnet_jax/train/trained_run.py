"""What a finished run says about itself to those who use its weights: its classes and how it looked at images.

A file that was converted or exported from a run says the same: in its metadata, or in a JSON file beside it.
"""

import json
import math
import types
from pathlib import Path
from typing import Any

from alexnet_jax.data import imagenet
from alexnet_jax.data.preprocess import PLANS, preprocess, usual_resize
from alexnet_jax.errors import RequestError
from alexnet_jax.model.weights import safetensors_file
from alexnet_jax.train.checkpoint import DIRECTORY
from alexnet_jax.train.settings import require
from alexnet_jax.train.writers import CONFIG_FILE, damaged, read_json, read_object, write_json

CLASSES_FILE = "classes.json"
VARIANT, CLASSES, LOOK = "variant", "classes", "look"  # in the metadata of a file


def workdir_of(weights: Path) -> Path | None:
    """Returns the workdir that weights are in: one itself, or of WORKDIR/checkpoints/STEP; None for a file."""
    if not weights.is_dir():
        return None
    return weights.parent.parent if weights.parent.name == DIRECTORY else weights


def write_classes(workdir: Path, names: tuple[str, ...]) -> None:
    """Notes the names of a run's classes, by label."""
    write_json(workdir / CLASSES_FILE, list(names))


def metadata(weights: Path, image_size: int) -> dict[str, str]:
    """Returns what to say of a run in a file of its weights; arguments as of ``look``."""
    seen = look(weights, image_size)
    said = {CLASSES: class_names(weights), LOOK: seen if "mean" in seen else None}
    return {name: json.dumps(value) for name, value in said.items() if value is not None}


def described(weights: Path, variant: str, num_classes: int, image_size: int) -> dict[str, Any]:
    """Returns what the user of an exported file needs besides it: its variant, the look and the labels.

    Args:
      weights: A workdir, one of its checkpoints, or a file; what it does not say is what ``predict`` takes.
      variant: Of the network.
      num_classes: Width of its classifier.
      image_size: Of its input, in pixels.
    """
    usual: dict[str, Any] = {**(preprocess.__kwdefaults__ or {})}
    usual |= {"resize_pixels": usual_resize(image_size)}
    told = {name: value for name, value in look(weights, image_size).items() if value is not None}
    return {VARIANT: variant, LOOK: usual | told, CLASSES: labels(weights, num_classes)}


def labels(weights: Path, num_classes: int) -> tuple[str, ...]:
    """Returns the run's names of its classes, or ImageNet's for 1,000 classes, or "class 0", "class 1", ..."""
    names = class_names(weights)
    if names is not None and len(names) == num_classes:
        return imagenet.readable(names)
    if names is None and num_classes == imagenet.NUM_CLASSES:
        return imagenet.class_names()
    return tuple(f"class {label}" for label in range(num_classes))


def class_names(weights: Path) -> tuple[str, ...] | None:
    """Returns the names of a run's classes by label; None for a run or a file that did not note them.

    Raises:
      RequestError: If they are not noted as ``write_classes`` and ``metadata`` do.
    """
    workdir = workdir_of(weights)
    if workdir is None:
        names = _said(weights, CLASSES)
        if names is not None and not _all(names, str):
            raise _unreadable(weights, CLASSES)
        return None if names is None else tuple(names)
    path = workdir / CLASSES_FILE
    if not path.is_file():
        return None
    names = read_json(path)
    if not _all(names, str):
        raise damaged(path, "it holds no list of names")
    return tuple(names)


def renamed_class(weights: Path, names: tuple[str, ...]) -> str:
    """Returns how the first class that is called otherwise was called and is; empty where none is, or none was noted.

    Args:
      weights: A workdir, one of its checkpoints, or a file.
      names: Of the classes of some data, by label.

    Raises:
      RequestError: As ``class_names``.
    """
    pairs = enumerate(zip(class_names(weights) or (), names, strict=False))
    return next((f"label {i} was {a} and is {b}" for i, (a, b) in pairs if a != b), "")


def look(weights: Path, image_size: int) -> dict[str, Any]:
    """Returns how a run's evaluation looked at an image, as arguments of ``preprocess``.

    Of ten crops, the one in the middle. Of a file that does not say it, what ``preprocess`` takes unless told.

    Args:
      weights: A workdir, one of its checkpoints, or a file.
      image_size: Of its network's input, in pixels.

    Raises:
      RequestError: If the run's settings are damaged, or the file does not say it as ``metadata`` does.
    """
    workdir = workdir_of(weights)
    if workdir is None:
        said = _said(weights, LOOK)
        if said is None:
            return {"image_size": image_size}
        try:
            resized, protocol, mean, std = (
                said[name] for name in ("resize_pixels", "protocol", "mean", "std")
            )
        except (KeyError, TypeError) as error:
            raise _unreadable(weights, LOOK) from error
        if not _is_look(resized, protocol, mean, std):
            raise _unreadable(weights, LOOK)
        return _look(image_size, resized, protocol, mean, std)
    path = workdir / CONFIG_FILE
    if not path.is_file():
        return {"image_size": image_size}
    keys = ("eval.resize_pixels", "eval.protocol", "data.mean", "data.std")
    resized, protocol, mean, std = require(read_object(path), keys, path)
    if protocol == "ten_crop":
        protocol = "center"
    elif resized is None:
        resized = image_size
    if not _is_look(resized, protocol, mean, std):
        raise damaged(path, "its eval and data do not say how images were looked at")
    return _look(image_size, resized or None, protocol, mean, std)


def _is_look(resized: Any, protocol: Any, mean: Any, std: Any) -> bool:
    rgb = all(
        _all(values, int | float) and len(values) == 3 and all(map(math.isfinite, values))
        for values in (mean, std)
    )
    return rgb and protocol in [*PLANS] and type(resized) in (int, type(None))


def _look(
    image_size: int, resized: int | None, protocol: str, mean: list[float], std: list[float]
) -> dict[str, Any]:
    return {
        "image_size": image_size,
        "resize_pixels": resized,  # None: 8/7 of the input
        "protocol": protocol,
        "mean": tuple(map(float, mean)),
        "std": tuple(map(float, std)),
    }


def _said(file: Path, name: str) -> Any:
    """Returns what a file says of itself under a name; None for nothing."""
    if file.suffix != safetensors_file.SUFFIX:
        return None
    text = safetensors_file.read(file).metadata.get(name)
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise _unreadable(file, name) from error


def _all(values: Any, kind: type | types.UnionType) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _unreadable(file: Path, name: str) -> RequestError:
    return RequestError(
        f"{file} says its {name} in a way that is not ours; convert the run again, or drop it from the metadata."
    )
