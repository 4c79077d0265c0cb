"""The names of ImageNet's 1,000 classes (ILSVRC 2012), by label: synsets in sorted order, as everybody numbers them.

``imagenet_classes.tsv`` was made from the lists in timm 1.0.31 (Apache-2.0), whose names are WordNet's.
"""

import functools
from collections.abc import Sequence
from importlib import resources

NUM_CLASSES = 1000


@functools.cache
def classes() -> dict[str, str]:
    """Returns each synset's names, in the order of the labels: "n01440764" -> "tench, Tinca tinca"."""
    text = resources.files("alexnet_jax.data").joinpath("imagenet_classes.tsv").read_text("utf-8")
    rows = (line.split("\t") for line in text.splitlines())
    return {synset: names for synset, names in rows}  # noqa: C416 (dict(rows) has lists for mypy)


def class_names() -> tuple[str, ...]:
    """Returns the names by label."""
    return tuple(classes().values())


@functools.cache
def _shortened() -> dict[str, str]:
    return {name: name.partition(",")[0] for name in class_names()}


def short(name: str) -> str:
    """Returns a class's first name where it is one of ImageNet's; another stays whole, a comma in it is its own."""
    return _shortened().get(name, name)


def readable(names: Sequence[str]) -> tuple[str, ...]:
    """Returns class names with names in the place of synsets."""
    return tuple(classes().get(name, name) for name in names)
