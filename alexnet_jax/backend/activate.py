"""Starts JAX on the chosen backend, or says in one sentence why it does not start."""

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax._src import distributed, xla_bridge  # what was asked of JAX has no public name

from alexnet_jax.backend import child
from alexnet_jax.backend.capabilities import check_all_reduce
from alexnet_jax.backend.explanations import (
    PLUGINS_VARIABLE,
    explain,
    explain_own_choice,
    with_remedy,
)
from alexnet_jax.backend.platforms import Backend, resolve
from alexnet_jax.errors import RequestError

NAME_VARIABLE = "ALEXNET_JAX_BACKEND"
LIBRARY_VARIABLE = "ALEXNET_JAX_BACKEND_LIBRARY"


def activate(
    name: str, library: str = "", options: dict[str, Any] | None = None
) -> list[jax.Device]:
    """Chooses the platform and returns its devices. Must run before anything else touches a device.

    A backend that JAX's releases do not include is started in a child process first: a plugin that aborts or hangs
    while starting would take this process with it.

    Args:
      name: A known backend, any JAX platform, or "auto": what ``ALEXNET_JAX_BACKEND`` says, or JAX's own choice.
      library: Path of a PJRT plugin to load under that name.
      options: The plugin's create options; numbers must be numbers.

    Raises:
      RequestError: If the backend does not start, or its devices cannot work together.
    """
    backend = choose(name, library, options)
    if backend is None:
        devices = start_own_choice()
        check_all_reduce(devices[0].platform, devices)
        return devices
    if not xla_bridge.backends_are_initialized() and not backend.released_with_jax:
        _try_in_child(backend)
    devices = start(backend)
    check_all_reduce(backend.name, devices)
    return devices


def choose(name: str, library: str = "", options: dict[str, Any] | None = None) -> Backend | None:
    """Returns the backend that the caller, else the environment, asks for; None leaves the choice to JAX.

    The environment's library belongs to the environment's name: it is not loaded under another.

    Raises:
      RequestError: If a library or options have no name of a plugin, or that of JAX's own CPU.
    """
    environment_name = os.environ.get(NAME_VARIABLE, "auto")
    if name == "auto":
        name = environment_name
    own_choice = environment_name == "auto" and not resolve(name).released_with_jax
    if not library and (name == environment_name or own_choice):
        library = os.environ.get(LIBRARY_VARIABLE, "")
    if name == "auto":
        if library:
            raise RequestError(
                f"backend_library={library!r} needs a name to load it under; add --config.backend=NAME."
            )
        if options:
            raise RequestError(
                f"backend_options ({', '.join(options)}) need the plugin that takes them; add --config.backend=NAME."
            )
        return None
    if library and name == "cpu":
        raise RequestError(
            f"backend_library={library!r} cannot be loaded as 'cpu', JAX's own; choose another --config.backend=NAME."
        )
    if options and name == "cpu":
        raise RequestError(
            f"backend_options ({', '.join(options)}) cannot be given to 'cpu', JAX's own; choose another "
            "--config.backend=NAME."
        )
    return resolve(name, library, options)


def start_own_choice() -> list[jax.Device]:
    """Starts JAX on what it chooses by itself, and returns its devices.

    Raises:
      RequestError: If it does not start.
    """
    try:
        return jax.devices()
    except Exception as error:  # JAX raises many types here; each becomes one sentence
        raise RequestError(explain_own_choice(error)) from error


def start(backend: Backend) -> list[jax.Device]:
    """Starts JAX on ``backend`` in this process, and returns its devices.

    Raises:
      RequestError: If it does not start, or another one has started before it.
    """
    started = xla_bridge.backends_are_initialized()
    try:
        # By name: jax.devices() would fall back to the CPU in silence.
        devices = jax.devices(backend.name) if started else _first_devices(backend)
    except RequestError:
        raise
    except Exception as error:  # JAX raises many types here; each becomes one sentence
        text = _too_late(backend) if started else explain(backend, error)
        raise RequestError(text) from error
    if jax.default_backend() != devices[0].platform:
        raise RequestError(_too_late(backend))
    _check_processes(backend)
    return devices


def _try_in_child(backend: Backend) -> None:
    outcome = child.run("alexnet_jax.backend.trial", dataclasses.asdict(backend))
    for message in outcome.messages:
        if "refused" in message:
            raise RequestError(message["refused"])
    if outcome.ending:
        raise RequestError(crashed(backend, outcome))


def crashed(backend: Backend, outcome: child.Outcome) -> str:
    """Returns the sentence for a child that died, or said nothing, while it started ``backend``."""
    hangs = outcome.ending.startswith("no answer")
    what = "hangs" if hangs else "crashed"
    sentence = f"backend {backend.name!r}: the plugin {what} while starting ({outcome.cause()})."
    longer = f"{child.TIMEOUT_VARIABLE}=SECONDS if it needs longer; " if hangs else ""
    return with_remedy([sentence, backend.missing_nodes()], longer + backend.hint)


def _first_devices(backend: Backend) -> list[jax.Device]:
    # The CPU stays at hand: parameters are drawn there.
    jax.config.update(
        "jax_platforms", backend.name if backend.name == "cpu" else f"{backend.name},cpu"
    )
    if backend.library:
        with _registered(backend):
            return jax.devices(backend.name)
    if backend.options:
        jax.config.update("jax_pjrt_client_create_options", dict(backend.options))
    return jax.devices(backend.name)


@contextlib.contextmanager
def _registered(backend: Backend) -> Iterator[None]:
    """Names the library in the variable that JAX reads once; later child processes must not load it too."""
    path = Path(backend.library).resolve()
    if not path.is_file():
        raise RequestError(
            f"backend {backend.name!r}: backend_library={backend.library!r} does not exist. Try: {backend.hint}"
        )
    before = os.environ.get(PLUGINS_VARIABLE, "")
    entries = [entry for entry in before.split(",") if entry]
    for entry in entries:
        if entry.partition(":")[0] == backend.name:
            raise RequestError(
                f"backend {backend.name!r}: two plugins register this name, backend_library={backend.library!r} and "
                f"{PLUGINS_VARIABLE}={entry}. Try: leave out one of them."
            )
    with tempfile.TemporaryDirectory() as directory:
        if backend.options:
            # Only the JSON form keeps a number a number.
            file = Path(directory, "plugin.json")
            options = dict(backend.options)
            file.write_text(json.dumps({"library_path": str(path), "create_options": options}))
            path = file
        os.environ[PLUGINS_VARIABLE] = ",".join([*entries, f"{backend.name}:{path}"])
        try:
            yield
        finally:
            os.environ[PLUGINS_VARIABLE] = before


def _too_late(backend: Backend) -> str:
    return (
        f"backend {backend.name!r} was chosen after JAX had started on {jax.default_backend()!r}, which cannot be "
        "changed. Try: choose it before the first use of a device, or set "
        f"{NAME_VARIABLE}={backend.name}."
    )


def _check_processes(backend: Backend) -> None:
    asked = distributed.global_state.num_processes or 1
    if jax.process_count() != asked:
        raise RequestError(
            f"backend {backend.name!r} ignores the distributed settings: {asked} processes were started, and this one "
            f"sees {jax.process_count()}; they would be {asked} separate trainings. Try: one process for all devices, "
            "or a plugin that takes JAX's options node_id and num_nodes."
        )
