"""From a file's arrays to a variant's, strictly: what is unknown, missing or of another shape, all at once."""

import dataclasses
import fnmatch
import re
from collections.abc import Mapping
from typing import Any

import jax
from jax import numpy as jnp

from alexnet_jax.errors import RequestError
from alexnet_jax.model.alexnet import AlexNet
from alexnet_jax.model.functional import Functional
from alexnet_jax.model.variants import variants
from alexnet_jax.model.weights.names import PREFIX, WRAPPERS, naming
from alexnet_jax.model.weights.slots import Frame, empty_trees, frame
from alexnet_jax.model.weights.stored import Stored, StoredArray, shown

SHOWN_FAULTS = 60  # every AlexNet has fewer arrays; a file that is none may have any number


@dataclasses.dataclass(frozen=True)
class Weights:
    """A variant with its numbers.

    Attributes:
      variant: Its name.
      num_classes: Width of its classifier.
      image_size: Height and width of its input, in pixels.
      model: Its definition.
      params: Layer name -> parameter name -> float32 array.
      model_state: Batch statistics in the same form.
    """

    variant: str
    num_classes: int
    image_size: int
    model: Functional
    params: dict[str, Any]
    model_state: dict[str, Any]

    def bind(self) -> AlexNet:
        """Returns the model, its arrays on the default device."""
        params, model_state = jax.tree.map(jnp.asarray, (self.params, self.model_state))
        return self.model.bind(params, model_state)


def fit(
    stored: Stored,
    variant: str | None = None,
    *,
    num_classes: int | None = None,
    image_size: int | None = None,
) -> Weights:
    """Reads a file's arrays into a variant.

    Args:
      stored: The file.
      variant: Its name; None for what the file says, or else the one that it fits.
      num_classes: Must be the file's; None for whatever that is.
      image_size: Height and width of the input, in pixels; None for what the file says, or the publisher's.

    Raises:
      RequestError: If a name is unknown or missing, a shape another, or an array no weights: all are listed.
    """
    arrays = _unwrapped(stored.arrays)
    variant = variant or stored.metadata.get("variant") or _fitting(stored, arrays)
    if image_size is None and stored.metadata.get("variant") == variant:
        image_size = _pixels(stored.metadata.get("image_size"))
    wanted = _frame(variant, arrays, num_classes, image_size)
    if faults := _faults(variant, wanted, arrays, stored.others):
        raise RequestError(_refusal(stored, variant, arrays, faults))
    trees = empty_trees()
    for slot in wanted.slots:
        leaves = trees[slot.tree].setdefault(slot.layer, {})
        leaves[slot.leaf] = slot.from_published(arrays[slot.name].read())
    return Weights(variant, wanted.num_classes, wanted.image_size, wanted.model, **trees)


def _frame(
    variant: str,
    arrays: dict[str, StoredArray],
    num_classes: int | None,
    image_size: int | None = None,
) -> Frame:
    """Returns the frame that a file should fill, as wide as its classifier."""
    if num_classes is None:
        name, width = frame(variant).classifier
        if name in arrays and arrays[name].shape[1:] == (width,) and arrays[name].shape[0] > 0:
            num_classes = arrays[name].shape[0]
    return frame(variant, num_classes=num_classes, image_size=image_size)


def _faults(
    variant: str, wanted: Frame, arrays: dict[str, StoredArray], others: tuple[str, ...]
) -> list[str]:
    slots = {slot.name: slot for slot in wanted.slots}
    unknown = [
        name
        for name in (*arrays, *others)
        if name not in slots
        and not any(fnmatch.fnmatchcase(name, pattern) for pattern in naming(variant).ignored)
    ]
    faults = [f"unknown: {shown(name)}" for name in unknown]
    faults += [f"missing: {name}" for name in slots if name not in arrays and name not in others]
    faults += [f"{name} is no array of numbers" for name in slots if name in others]
    for name, slot in slots.items():
        if name in arrays and arrays[name].shape != slot.shape:
            faults.append(f"{name} is {arrays[name].shape}, not {slot.shape}")
        elif name in arrays and not arrays[name].is_float:
            faults.append(f"{name} holds {arrays[name].dtype}, not real numbers")
    return faults


def _fitting(stored: Stored, arrays: dict[str, StoredArray]) -> str:
    """Returns the one variant that a file fits."""
    found = _fitting_variants(arrays)
    if len(found) != 1:
        raise RequestError(
            f"{stored.where} does not say which variant it is, and its arrays fit {' and '.join(found) or 'none'}; "
            f"name one of: {', '.join(variants())}."
        )
    return found[0]


def _fitting_variants(arrays: dict[str, StoredArray]) -> list[str]:
    return [
        name for name in variants() if not _faults(name, _frame(name, arrays, None), arrays, ())
    ]


def _refusal(
    stored: Stored, variant: str, arrays: dict[str, StoredArray], faults: list[str]
) -> str:
    shown = faults[:SHOWN_FAULTS]
    if len(faults) > SHOWN_FAULTS:
        shown.append(f"and {len(faults) - SHOWN_FAULTS} more")
    found = _fitting_variants(arrays)
    if variant in found:
        classes = _frame(variant, arrays, None).num_classes
        advice = f"It has {classes} classes, at the publisher's image size; ask for these."
    elif found:
        advice = f"It fits {found[0]}; name that variant (of a training, --config.model.variant={found[0]})."
    else:
        advice = "Name a file of this variant."
    return "\n  ".join([f"{stored.where} is not {variant}:", *shown]) + f"\n{advice}"


def _unwrapped(arrays: Mapping[str, StoredArray]) -> dict[str, StoredArray]:
    """Returns the arrays by the names they had before their network, or parts of it, were wrapped."""
    bare = {_without_wrappers(name): array for name, array in arrays.items()}
    if len(bare) < len(arrays):  # the words are somebody's own
        bare = dict(arrays)
    while bare and all(name.startswith(PREFIX) for name in bare):
        bare = {name.removeprefix(PREFIX): array for name, array in bare.items()}
    return bare


def _without_wrappers(name: str) -> str:
    *parts, last = name.split(".")
    return ".".join([*(part for part in parts if part not in WRAPPERS), last])


def _pixels(text: str | None) -> int | None:
    """Returns a number of pixels from a file's own words, where it is a plain one."""
    return int(text) if text is not None and re.fullmatch(r"[1-9][0-9]{0,4}", text) else None
