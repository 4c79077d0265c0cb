"""Reading recipes: files that define ``get_config``."""

import difflib
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from alexnet_jax.config.defaults import default_config
from alexnet_jax.config.keys import all_keys
from alexnet_jax.config.override import KIND_NAMES
from alexnet_jax.errors import RequestError

LISTED = 3  # of the settings that a recipe lacks, in a message


def load(path_and_argument: str) -> ConfigDict:
    """Runs a configuration file's ``get_config``.

    Args:
      path_and_argument: ``FILE`` or ``FILE:ARGUMENT``; the argument is passed to ``get_config``.

    Raises:
      RequestError: If there is no such file, or it fails.
    """
    path_text, separator, argument = path_and_argument.partition(":")
    path = Path(path_text)
    if not path.is_file():
        others = [other.name for other in path.parent.glob("*.py")]
        close = difflib.get_close_matches(path.name, others, n=1)
        hint = "the recipes are in configs/ of the checkout."
        if close:
            hint = f"did you mean {path.with_name(close[0])}?"
        raise RequestError(f"--config={path_text!r}: there is no such file; {hint}")
    spec = importlib.util.spec_from_file_location("alexnet_jax_recipe", path)
    if spec is None or spec.loader is None:
        raise RequestError(f"--config={path_text!r} is not a Python file (.py).")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        arguments = [argument] if separator else []
        inspect.signature(module.get_config).bind(*arguments)
        config = module.get_config(*arguments)
    except RequestError as error:
        raise RequestError(f"{path_and_argument}: {error}") from error
    except Exception as error:  # the file is the user's own program
        raise RequestError(f"{path_text} failed: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise RequestError(
            f"{path_text}: get_config() returned {type(config).__name__}, not a ConfigDict; begin with "
            "alexnet_jax.config.default_config()."
        )
    there = set(all_keys(config))
    lacking = [
        key
        for key in all_keys(default_config())
        if key not in there and key.partition(".")[0] not in there
    ]
    if lacking:
        raise RequestError(
            f"{path_text}: get_config() returned a ConfigDict without {', '.join(lacking[:LISTED])}"
            f"{', ...' * (len(lacking) > LISTED)}; begin with alexnet_jax.config.default_config()."
        )
    return config


def switches(argument: str, *allowed: str) -> frozenset[str]:
    """Splits a recipe's argument, e.g. "smoke,float32", and checks each word.

    Raises:
      RequestError: If a word is not among ``allowed``.
    """
    words = frozenset(word for word in argument.split(",") if word)
    if unknown := words.difference(allowed):
        raise RequestError(
            f"unknown argument {', '.join(sorted(unknown))}; this recipe takes {', '.join(allowed)}."
        )
    return words


def smoke(config: ConfigDict) -> None:
    """Shrinks a recipe to a few steps on made images; the network and the rest of the recipe stay."""
    config.data.source = "synthetic"
    config.data.synthetic_examples = 16
    config.batch_size = 8
    config.num_epochs = 1
    config.log_every_steps = 1
    config.schedule.warmup_epochs = min(config.schedule.warmup_epochs, 0.5)
    config.published = default_config().published  # of other images


def from_json(values: Mapping[str, Any], file: Path) -> ConfigDict:
    """Returns the configuration that was written as JSON.

    Settings that it lacks, as an older version did, take their defaults.

    Args:
      values: What the file holds.
      file: Where they were read, e.g. a run's ``config.json``; named in errors.

    Raises:
      RequestError: If it has a setting that there is not, or a value of another type than the setting's.
    """
    config = default_config()
    _fill(config, values, "", file)
    return config


def _fill(section: ConfigDict, values: Mapping[str, Any], prefix: str, file: Path) -> None:
    for name, value in values.items():
        if section.is_locked and name not in section:
            raise RequestError(f"{prefix}{name} is no setting of this version of alexnet_jax.")
        kind: Any = section.get_type(name) if name in section else None
        if kind is ConfigDict and isinstance(value, dict):
            _fill(section[name], value, f"{prefix}{name}.", file)
            continue
        try:
            if kind is ConfigDict:
                raise TypeError(f"{value!r} is no section")
            section[name] = tuple(value) if isinstance(value, list) else value
        except TypeError as error:
            wanted = "a section" if kind is ConfigDict else KIND_NAMES[kind]
            raise RequestError(
                f"{file} is damaged: {prefix}{name} is {value!r}, not {wanted}; restore it, or run again."
            ) from error
