"""What numbers the options of a command may have."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alexnet_jax.errors import Fault, refused

# The option's name in the parsed ones -> the rule in words, and whether a value keeps it.
Rules = Mapping[str, tuple[str, Callable[[Any], bool]]]

AT_LEAST_ONE = ("at least 1", lambda value: value >= 1)


def number_faults(options: argparse.Namespace, rules: Rules) -> list[Fault]:
    """Returns what is wrong with the options that were given, or have a default, one by one."""
    return [
        Fault(name, f"--{name.replace('_', '-')}={value} is not possible; use {rules[name][0]}.")
        for name, value in vars(options).items()
        if name in rules and value is not None and not rules[name][1](value)
    ]


def refuse(faults: Sequence[Fault]) -> None:
    """Raises the faults as one RequestError, where there are any."""
    if faults:
        raise refused(faults)
