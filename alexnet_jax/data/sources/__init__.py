"""The data sets. A new one is a file here with ``open_split`` and a row in ``SOURCES``."""

from collections.abc import Callable

from alexnet_jax.data.sources import cifar10, digits, folder, packed, synthetic, tfds
from alexnet_jax.data.sources.base import Source, SourceSettings

SOURCES: dict[str, Callable[[SourceSettings, str], Source]] = {
    "digits": digits.open_split,
    "cifar10_binary": cifar10.open_split,
    "folder": folder.open_split,
    "tfds": tfds.open_split,
    "packed": packed.open_split,
    "synthetic": synthetic.open_split,
}
