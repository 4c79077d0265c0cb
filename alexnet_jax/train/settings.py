"""A run's settings as plain values, told apart."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alexnet_jax.train.writers import damaged


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested settings by their dotted keys.

    >>> flat({"seed": 0, "model": {"variant": "cifar32"}})
    {'seed': 0, 'model.variant': 'cifar32'}
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def require(settings: Mapping[str, Any], keys: Iterable[str], file: Path) -> list[Any]:
    """Returns the values of some dotted keys.

    Args:
      settings: Of a run.
      keys: That every version wrote.
      file: Where they were read; named in errors.

    Raises:
      RequestError: If one is missing.
    """
    found = flat(settings)
    if missing := [key for key in keys if key not in found]:
        raise damaged(file, f"it has no {' and no '.join(missing)}")
    return [found[key] for key in keys]


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Returns what differs between two settings, a text each.

    >>> changes({"seed": 0}, {"seed": 1})
    ['seed: 0 -> 1']
    """
    old, new = flat(before), flat(after)
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
