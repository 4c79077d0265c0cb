"""Looks at the data before a run: what is wrong with labels, images and splits."""

import hashlib
from pathlib import Path

import numpy as np

from alexnet_jax.data import decode
from alexnet_jax.data.broken import describe
from alexnet_jax.data.sources.base import InMemory, Source
from alexnet_jax.data.sources.folder import FolderSource

SAMPLES = 8  # examples tried in each split; one image that decodes is enough
LISTED = 3
CLASSES_LISTED = 5
LEAST_CLASSES = 2


def find_problems(sources: dict[str, Source]) -> list[str]:
    """Returns a sentence for each thing wrong with the data.

    That labels come in runs of one class is none: training shuffles all examples anew in every epoch.

    Args:
      sources: By split.
    """
    problems = _class_problems(sources)
    if empty := [split for split, source in sources.items() if not len(source)]:
        texts = (f"there are no {split} examples; name a split that has some." for split in empty)
        return [*problems, *texts]
    problems += [
        text for split, source in sources.items() for text in _label_problems(split, source)
    ]
    problems += [
        text for split, source in sources.items() for text in _sample_problems(split, source)
    ]
    train, test = sources["train"], sources["eval"]
    if isinstance(train, FolderSource) and isinstance(test, FolderSource):
        problems += _shared_problems(train, test)
    return problems


def class_counts(source: Source) -> np.ndarray | None:
    """Returns how many examples each class has, [num_classes]; None where only reading everything would tell."""
    labels = getattr(source, "labels", None)
    return None if labels is None else np.bincount(labels, minlength=source.num_classes)


def _class_problems(sources: dict[str, Source]) -> list[str]:
    """Returns a sentence where the two splits' labels do not mean the same, or all mean the same."""
    train, test = sources["train"], sources["eval"]
    if train.num_classes < LEAST_CLASSES:
        return [_too_few_classes(train)]
    only = sorted(set(train.class_names) ^ set(test.class_names))
    if not only:
        return []
    return [
        (
            f"data: {len(only)} classes are in the training or the evaluation data only "
            f"({', '.join(only[:CLASSES_LISTED])}{', ...' * (len(only) > CLASSES_LISTED)}); labels would not mean the "
            "same. Give both the same classes."
        )
    ]


def _too_few_classes(source: Source) -> str:
    there = ", ".join(source.class_names) or "none"
    if isinstance(source, FolderSource):
        return (
            f"{source.root} has one class folder, {there}, so there is nothing to tell apart; add folders of other "
            "classes, or name the folder above the classes as data.path."
        )
    return f"the data have fewer than two classes ({there}), so there is nothing to tell apart; name other data."


def _label_problems(split: str, source: Source) -> list[str]:
    """Returns a sentence where labels are out of range: of all that are known, else of a few examples."""
    labels, places = getattr(source, "labels", None), None
    tried, advice = "", "Mend the labels."
    if labels is None:
        places, labels = _sampled_labels(source)
        tried, advice = " tried", "Mend the labels, or name a split that has some."
    wrong = np.flatnonzero((labels < 0) | (labels >= source.num_classes))
    if not len(wrong):
        return []
    first = int(wrong[0])
    example = describe(source, first if places is None else places[first])
    return [
        (
            f"{len(wrong)} of the {len(labels)} {split} labels{tried} are not in 0 to {source.num_classes - 1}; the "
            f"first is {labels[first]}, of {example}. {advice}"
        )
    ]


def _sampled_labels(source: Source) -> tuple[list[int], np.ndarray]:
    """Returns the places of a few examples and their labels; those that cannot be read are noted when they are met."""
    places, labels = [], []
    for place in _samples(source):
        try:
            labels.append(source[place]["label"])
        except decode.UNREADABLE:
            continue
        places.append(place)
    return places, np.array(labels, int)


def _samples(source: Source) -> list[int]:
    count = min(SAMPLES, len(source))
    return np.linspace(0, len(source) - 1, count).astype(int).tolist()


def _sample_problems(split: str, source: Source) -> list[str]:
    if isinstance(source, InMemory):
        return []
    places = _samples(source)
    reasons = []
    for place in places:
        try:
            decode.open_image(source[place]["image"])
        except decode.UNREADABLE as error:
            reasons.append(f"{describe(source, place)} ({error})")
        else:
            return []
    return [
        (
            f"none of {len(places)} {split} images tried can be read: {'; '.join(reasons[:LISTED])}. Are these images, "
            "and was the copy complete?"
        )
    ]


def _shared_problems(train: FolderSource, test: FolderSource) -> list[str]:
    """Looks for files of the same name and content in both splits."""
    train_files = _by_name_and_size(train, set(map(_name, test.paths)))
    test_files = _by_name_and_size(test, {name for name, _ in train_files})
    shared = []
    for key in train_files.keys() & test_files.keys():  # only these are read
        there = {_content(test.root / path) for path in test_files[key]} - {None}
        shared += [path for path in train_files[key] if _content(train.root / path) in there]
    if not shared:
        return []
    listed = ", ".join(sorted(shared)[:LISTED]) + ", ..." * (len(shared) > LISTED)
    return [
        (
            f"{len(shared)} images are in the training and in the evaluation data ({listed}); accuracy on images "
            "trained on means nothing. Remove them from one of the two."
        )
    ]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _by_name_and_size(source: FolderSource, names: set[str]) -> dict[tuple[str, int], list[str]]:
    """Returns the paths of the files of these names, by name and size in bytes; no other file is looked at."""
    found: dict[tuple[str, int], list[str]] = {}
    for path in source.paths:
        name = _name(path)
        if name not in names:
            continue
        try:
            size = (source.root / path).stat().st_size
        except OSError:  # what cannot be read is noted when it is met
            continue
        found.setdefault((name, size), []).append(path)
    return found


def _content(file: Path) -> bytes | None:
    """Returns the SHA-256 sum of a file; None where it cannot be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return None
