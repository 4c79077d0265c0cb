"""What JAX's and the loader's errors mean: one sentence each, with the next thing to try."""

import dataclasses
import os
import re
from collections.abc import Sequence

import jax

from alexnet_jax.backend.platforms import Backend

PLUGINS_VARIABLE = "PJRT_NAMES_AND_LIBRARY_PATHS"  # read by JAX at its first use of a device
_ENVIRONMENT = ("JAX_PLATFORMS", PLUGINS_VARIABLE)  # what JAX's own choice follows


@dataclasses.dataclass(frozen=True)
class Cause:
    """A reason why a backend does not start.

    Attributes:
      pattern: Of the error's text; its groups and the backend's attributes fill the sentence.
      sentence: What is wrong.
      remedy: What to try; empty: the backend's own hint.
      hardware: Whether to add that no device file exists.
    """

    pattern: str
    sentence: str
    remedy: str = ""
    hardware: bool = False


# The first that matches, in this order.
CAUSES = (
    Cause(
        r"not in the list of known",
        "backend {name!r} is not available: no installed JAX plugin provides it.",
        hardware=True,
    ),
    Cause(
        r"Unknown backend",
        "backend {name!r} is not available: JAX finds no device of it.",
        hardware=True,
    ),
    Cause(
        r"Failed to open (?P<file>\S+): (?P<needed>(?!(?P=file))\S+): cannot open shared object",
        "backend {name!r}: {file} needs {needed}, which the loader cannot find.",
        "{hint} Or add its directory to LD_LIBRARY_PATH.",
    ),
    Cause(
        r"GetPjrtApi not found",
        "backend {name!r}: {library} is not a PJRT plugin: it has no function GetPjrtApi.",
        "name the plugin's own library with --config.backend_library=FILE.so.",
    ),
    Cause(
        r"register_plugin_profiler|NoneType.*PJRT",
        "backend {name!r}: {library} gives no PJRT functions: its GetPjrtApi returned nothing.",
        "what it printed above, or ask its vendor.",
    ),
    Cause(
        r"Failed to open (?P<file>\S+): (?P<why>[^\n]+)",
        "backend {name!r}: {file} cannot be loaded as a PJRT plugin ({why}).",
        "name a plugin library built for this processor with --config.backend_library=FILE.so.",
    ),
    Cause(
        r"(?P<why>(Mismatched PJRT|[^:]*older than the minimum|[^:]*newer than)[^\n]*)",
        "backend {name!r} was built for another PJRT ABI than jax {jax}: {why}.",
        "install the jax and jaxlib versions that the plugin's vendor names.",
    ),
    Cause(
        r"ALREADY_EXISTS|already (registered|initialized)|multiple times",
        "backend {name!r}: two plugins register this name, the library {library} and an installed package.",
        "leave out --config.backend_library, or uninstall the package.",
    ),
    Cause(
        r"provides no devices|[Nn]o (\w+ )?devices?( was| were)? found",
        "backend {name!r} finds no device: {text}.",
        hardware=True,
    ),
    Cause(
        r"PJRT_Client_Create|[Uu]nexpected option|option name|get_c_api_client\(\)",
        "backend {name!r} refuses its options ({options}): {text}.",
        "the names and types that the plugin's documentation gives, with --config.backend_options.NAME=VALUE; "
        "4 is a number and '\"4\"' is text.",
    ),
)
UNKNOWN = Cause("", "backend {name!r} does not start: {text}.", hardware=True)


def explain(backend: Backend, error: BaseException) -> str:
    """Returns the sentence for an error that JAX raised while it started ``backend``."""
    text = str(error) or type(error).__name__
    for cause in (*CAUSES, UNKNOWN):
        if match := re.search(cause.pattern, text):
            break
    values = {
        "name": backend.name,
        "library": backend.library or "its library",
        "hint": backend.hint,
        "jax": jax.__version__,
        "options": _options(backend),
        "text": _essence(text),
        **({k: _essence(v) for k, v in match.groupdict().items() if v} if match else {}),
    }
    sentences = [
        cause.sentence.format_map(values),
        backend.missing_nodes() if cause.hardware else "",
    ]
    return with_remedy(sentences, (cause.remedy or "{hint}").format_map(values))


def explain_own_choice(error: BaseException) -> str:
    """Returns the sentence for an error that JAX raised while it started the devices of its own choice."""
    given = {name: os.environ[name] for name in _ENVIRONMENT if os.environ.get(name)}
    shown = " and ".join(f"{name}={value!r}" for name, value in given.items())
    where = f" with {shown}" if given else ""
    said = _first_line(str(error)) or "it finds no such device"  # an empty AssertionError
    remedies = [f"correct or unset {' or '.join(given)}"] if given else []
    if PLUGINS_VARIABLE not in given:  # JAX loads what that names for the CPU too
        remedies.append("choose the CPU with --config.backend=cpu or ALEXNET_JAX_BACKEND=cpu")
    sentence = f"JAX does not start{where}: {said}."
    return with_remedy([sentence], f"{', or '.join(remedies)}.")


def with_remedy(sentences: Sequence[str], remedy: str) -> str:
    """Joins what is wrong and what to try."""
    return " ".join([*filter(None, sentences), f"Try: {remedy}"])


def _essence(text: str) -> str:
    """Cuts what JAX puts around a plugin's own words."""
    return re.sub(r"^(Unable to initialize backend '[^']*': )?([A-Z_]+: )?", "", _first_line(text))


def _first_line(text: str) -> str:
    text = text.partition(" (set JAX_PLATFORMS")[0].partition(" (you may need")[0]
    return text.splitlines()[0].strip().rstrip(".") if text.strip() else text


def _options(backend: Backend) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in backend.options.items()) or "none given"
