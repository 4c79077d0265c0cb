"""Settings from the command line.

ml_collections' own flags stop at the first fault; a person wants all of them.
"""

import ast
from collections.abc import Callable, Iterable
from typing import Any

from ml_collections import ConfigDict

from alexnet_jax.config.keys import all_keys, unknown_key
from alexnet_jax.config.rules import optional_keys
from alexnet_jax.errors import Fault, RequestError

NAME_TUPLES = ("optimizer.freeze",)  # the other tuples hold numbers


def override(config: ConfigDict, assignments: Iterable[tuple[str, str]]) -> list[Fault]:
    """Sets keys from text and returns what could not be set.

    ml_collections' own flags stop at the first fault; a person wants all of them.

    Args:
      config: Changed in place.
      assignments: (dotted key, text) pairs.
    """
    faults = []
    for key, text in assignments:
        try:
            _assign(config, key, text)
        except RequestError as error:
            faults.append(Fault(key, str(error)))
    return faults


def _assign(config: ConfigDict, key: str, text: str) -> None:
    *parents, name = key.split(".")
    section: Any = config
    for parent in parents:
        section = section[parent] if isinstance(section, ConfigDict) and parent in section else None
    if not isinstance(section, ConfigDict):
        raise RequestError(unknown_key(config, key))
    if not section.is_locked:
        with section.ignore_type():  # any kind of value, also where another was set before
            section[name] = _literal(text)
        return
    if name not in section:
        raise RequestError(unknown_key(config, key))
    if text == "None" and key in optional_keys():
        section[name] = None
        return
    if key in NAME_TUPLES:
        section[name] = _parse_names(text)
        return
    kind = section.get_type(name)
    if kind is ConfigDict:
        raise RequestError(
            f"--config.{key} is a section; set its keys, e.g. {(all_keys(config, key) or [f'{key}.NAME'])[0]}."
        )
    try:
        section[name] = _PARSERS[kind](text)
    except _UNPARSABLE as error:
        raise RequestError(
            f"--config.{key}={text!r} is not {KIND_NAMES[kind]} (the recipe has {section[name]!r})."
        ) from error


def _parse_bool(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise ValueError(text)
    return values[text.lower()]


def _parse_tuple(text: str) -> tuple[float, ...]:
    value = ast.literal_eval(text)
    if not isinstance(value, tuple | list):
        raise ValueError(text)
    return tuple(float(number) for number in value)


def _parse_names(text: str) -> tuple[str, ...]:
    """Reads "conv1,conv2", with or without the brackets and quotes of Python's tuples."""
    names = (name.strip(" '\"") for name in text.strip(" ()[]").split(","))
    return tuple(name for name in names if name)


# What Python raises for text of one kind or another: a number too large for a float, a thousand brackets.
_UNPARSABLE = (*(ValueError, SyntaxError, TypeError, OverflowError, RecursionError, MemoryError),)
_PARSERS: dict[type, Callable[[str], Any]] = {
    bool: _parse_bool,
    int: int,
    float: float,
    str: str,
    tuple: _parse_tuple,
}
KIND_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a tuple of numbers",
}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except _UNPARSABLE:
        return text
