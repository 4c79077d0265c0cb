"""A folder of images, one sub-folder a class: ImageNet's usual layout."""

import logging
import math
from pathlib import Path

import numpy as np

from alexnet_jax.data.fingerprint import digest
from alexnet_jax.data.listing import EXTENSIONS, class_folders, images, list_images
from alexnet_jax.data.sources.base import Example, SourceSettings
from alexnet_jax.errors import RequestError, reading

_log = logging.getLogger(__name__)
FOLDERS = {"train": "train", "eval": "val"}
LISTS = {split: f"{folder}_list.txt" for split, folder in FOLDERS.items()}
LISTED = 5  # of class folders, in a message

HOW_TO = """\
ImageNet (ILSVRC 2012) is free for research but must be requested:
  1. register at https://image-net.org and download ILSVRC2012_img_train.tar (138 GB) and ILSVRC2012_img_val.tar (6 GB);
  2. unpack them as DIR/train/n01440764/*.JPEG and DIR/val/n01440764/*.JPEG, one folder a class;
  3. pass --config.data.path=DIR.
Without the data: --config configs/imagenet.py:smoke trains the same network for a few steps on made images."""


OWN_CLASSES = """\
Sort the images into one folder a class, DIR/CLASS/*.jpg (or DIR/train/CLASS/ and DIR/val/CLASS/), and pass
--config.data.path=DIR.
Without data: --config configs/finetune.py:smoke trains for a few steps on made images."""

CLASSES_ALONE = """\
If the folders there are the classes, say what share of each to evaluate with:
--config.data.eval_fraction=0.2, or of pack and benchmark --eval-fraction=0.2."""


class FolderSource:
    """Encoded images below a directory; a label is the class folder's place in sorted order.

    Attributes:
      root: The directory of the split.
      paths: Each image, relative to ``root``.
      labels: [n] int32.
      class_names: The class folders' names.
    """

    def __init__(
        self, root: Path, paths: list[str], labels: np.ndarray, class_names: tuple[str, ...]
    ):
        self.root, self.paths, self.labels, self.class_names = root, paths, labels, class_names

    @property
    def num_classes(self) -> int:
        """How many classes the labels come from."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Example:
        return {
            "image": (self.root / self.paths[index]).read_bytes(),
            "label": int(self.labels[index]),
        }

    def describe(self, index: int) -> str:
        """Returns the file of an example, for messages."""
        return str(self.root / self.paths[index])

    def fingerprint(self) -> str:
        """Returns a digest of every file's path and size and of the labels; a file that has vanished has no size."""
        files = "".join(f"{path} {_size(self.root / path)}\n" for path in self.paths)
        return digest([files, self.labels])


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def open_split(settings: SourceSettings, split: str) -> FolderSource:
    """Opens ``path/train`` or ``path/val``, listed by ``train_list.txt`` or ``val_list.txt`` where there is one.

    A ``path`` that holds the class folders themselves is divided by the two lists, or else by
    ``settings.eval_fraction``, where that is not 0.

    Raises:
      RequestError: If the directory is missing, unreadable, empty, has images but no class folders, a class folder
        without a training image, only one of two lists, or too few images to divide.
    """
    if not settings.path:
        raise RequestError(f"data.source='folder' needs data.path.\n{_how_to(settings)}")
    with reading(Path(settings.path)):
        root, divides = _class_root(settings, split)
    class_names = class_folders(root)
    if not class_names:
        raise RequestError(_no_classes(root, _how_to(settings)))
    list_file = Path(settings.path) / LISTS[split]
    if list_file.is_file():
        paths, labels = _read_list(list_file, f"{FOLDERS[split]}/", len(class_names))
    else:
        name = f"{FOLDERS[split]}-listing.json"
        cache = Path(settings.cache_dir) / name if settings.cache_dir else None
        paths, labels = list_images(root, class_names, cache)
    if not paths:
        raise RequestError(
            f"{root} has class folders but no image ({', '.join(EXTENSIONS)}) in them; unpack the images there."
        )
    if not list_file.is_file() and (empty := _without_images(class_names, labels, root)):
        if split == "train":
            raise RequestError(f"{empty} Remove them, or put their images there.")
        _log.warning("%s Nothing is measured on them.", empty)
    if divides:
        chosen = _chosen(split, root, class_names, labels, settings.eval_fraction)
        paths, labels = [paths[i] for i in chosen], [labels[i] for i in chosen]
    return FolderSource(root, paths, np.array(labels, np.int32), class_names)


def _class_root(settings: SourceSettings, split: str) -> tuple[Path, bool]:
    """Returns the directory that holds a split's class folders, and whether ``eval_fraction`` divides what is there.

    Raises:
      RequestError: If there is no such directory, or a list of the one split and nothing that says the other.
    """
    path = Path(settings.path)
    undivided = not any((path / name).exists() for name in FOLDERS.values())
    there = [name for name in LISTS.values() if (path / name).is_file()]
    if undivided and len(there) == len(LISTS):
        return path, False
    divides = undivided and settings.eval_fraction > 0
    if divides and there:
        (wanting,) = set(LISTS.values()) - set(there)
        raise RequestError(
            f"{path} has {there[0]} but no {wanting}, so nothing says which images are the other split's; write "
            f"{wanting} too, or remove {there[0]} to have each class divided by "
            f"data.eval_fraction={settings.eval_fraction:g}."
        )
    root = path if divides else path / FOLDERS[split]
    if not root.is_dir():
        missing = "is no directory" if divides else f"has no folder {FOLDERS[split]}/"
        alone = undivided and path.is_dir() and class_folders(path)
        advice = CLASSES_ALONE if alone else _how_to(settings)
        raise RequestError(f"data.path={settings.path!r} {missing}.\n{advice}")
    return root, divides


def _chosen(
    split: str, root: Path, class_names: tuple[str, ...], labels: list[int], fraction: float
) -> list[int]:
    """Returns the places of a split's images among all those of an undivided folder.

    Raises:
      RequestError: If there are none, or none of a class to train on.
    """
    held = held_out(np.array(labels), fraction)
    chosen = np.flatnonzero(held == (split == "eval")).tolist()
    if not chosen:
        raise RequestError(_too_few(root, labels, fraction, split))
    without = sorted(set(labels) - {labels[place] for place in chosen})
    if split == "train" and without:
        names = [class_names[label] for label in without]
        raise RequestError(_none_to_train_on(root, names, fraction))
    return chosen


def held_out(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Marks the examples to evaluate with: of each class ``fraction``, rounded and evenly spaced.

    Args:
      labels: [n], classes one after the other.
      fraction: In (0, 1).

    Returns:
      bool [n].
    """
    starts = np.searchsorted(labels, labels)  # where each example's class begins
    places = np.arange(len(labels)) - starts
    return np.floor((places + 1) * fraction + 0.5) > np.floor(places * fraction + 0.5)


def _none_to_train_on(root: Path, names: list[str], fraction: float) -> str:
    return (
        f"{len(names)} class folders in {root} have too few images for data.eval_fraction={fraction:g}, so that none "
        f"is left to train on: {_listed(names)}. Add images, or use less."
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + ", ..." * (len(names) > LISTED)


def _too_few(root: Path, labels: list[int], fraction: float, split: str) -> str:
    largest = int(np.max(np.bincount(labels)))
    rounded = math.floor(largest * fraction + 0.5)
    # The least share that holds one image of the largest class out, in whole hundredths.
    least = math.ceil(100 * 0.5 / largest) / 100
    purpose, advice = {
        "train": ("train on", "use less"),
        "eval": ("evaluate with", f"use at least {least:g}"),
    }[split]
    return (
        f"{root} has too few images a class for data.eval_fraction={fraction:g}: at most {largest}, {fraction:g} of "
        f"which rounds to {rounded}, so that none is left to {purpose}. Add images, or {advice}."
    )


def _read_list(list_file: Path, prefix: str, num_classes: int) -> tuple[list[str], list[int]]:
    """Reads lines "relative/path label"; paths may begin with ./ and ``prefix``, the split's folder, both left off."""
    with reading(list_file):
        text = list_file.read_text(errors="surrogateescape")  # names of files are bytes, not UTF-8
    paths, labels = [], []
    # A name may hold what splitlines() takes for the end of a line, U+0085 or U+2028; editors may begin with U+FEFF.
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        path, _, label = line.rpartition(" ")
        if not path or not label.isdecimal() or int(label) >= num_classes:
            raise RequestError(
                f"{list_file}, line {number}: got {line!r}; a line is 'relative/path label' with a label from 0 to "
                f"{num_classes - 1} (there are {num_classes} class folders)."
            )
        paths.append(path.removeprefix("./").removeprefix(prefix))
        labels.append(int(label))
    return paths, labels


def _without_images(class_names: tuple[str, ...], labels: list[int], root: Path) -> str:
    """Returns a sentence that names the class folders that hold no image; empty where each holds one."""
    there = set(labels)
    empty = [name for label, name in enumerate(class_names) if label not in there]
    if not empty:
        return ""
    return (
        f"{len(empty)} of the {len(class_names)} class folders in {root} hold no image ({', '.join(EXTENSIONS)}): "
        f"{_listed(empty)}."
    )


def _how_to(settings: SourceSettings) -> str:
    """Returns how to come by data: of a recipe that divides a folder itself, one's own."""
    return OWN_CLASSES if settings.eval_fraction > 0 else HOW_TO


def _no_classes(root: Path, how_to: str) -> str:
    if any(True for _ in images(root)):
        return (
            f"{root} holds images but no class folders, so their classes are unknown. Move each image into a folder "
            "named after its class (for ImageNet's validation set: by the synset listed in "
            "ILSVRC2012_validation_ground_truth.txt of the development kit), e.g. val/n01440764/*.JPEG."
        )
    return f"{root} is empty.\n{how_to}"
