"""Dotted keys of a configuration."""

import difflib
from typing import Any

from ml_collections import ConfigDict


def all_keys(config: ConfigDict, section: str = "") -> list[str]:
    """Returns all dotted keys, or those of one section."""
    keys: list[str] = []
    for name, value in config.items():
        keys += [f"{name}.{key}" for key in value] if isinstance(value, ConfigDict) else [name]
    return [key for key in keys if not section or key.startswith(f"{section}.")]


def get(config: ConfigDict, key: str) -> Any:
    """Returns the value of a dotted key."""
    value: Any = config
    for name in key.split("."):
        value = value[name]
    return value


def unknown_key(config: ConfigDict, key: str) -> str:
    """Returns what to tell about a key that does not exist."""
    close = difflib.get_close_matches(key, all_keys(config), n=1)
    hint = f"; did you mean {close[0]}?" if close else "; docs/configuration.md lists them all."
    return f"--config.{key}: there is no such key{hint}"
