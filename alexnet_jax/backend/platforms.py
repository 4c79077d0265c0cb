"""The platforms we know something about. Any other JAX platform works by its name."""

import dataclasses
import glob
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from alexnet_jax.errors import RequestError

ENTRY_POINTS = "alexnet_jax.backends"


@dataclasses.dataclass(frozen=True)
class Backend:
    """A device platform and how to reach it.

    Attributes:
      name: As in ``JAX_PLATFORMS`` and ``jax.devices(name)``.
      library: Path of the PJRT plugin; empty where an installed package registers it.
      options: The plugin's create options, with their types.
      device_nodes: Glob patterns of the device files; they only word messages.
      visible_devices_variable: Environment variable that selects devices; it only words messages.
      hint: What to try when it does not start.
      released_with_jax: Whether JAX's own releases include it; any other is started in a child process first, where an
        abort or a hang can be told.
    """

    name: str
    library: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    device_nodes: tuple[str, ...] = ()
    visible_devices_variable: str = ""
    hint: str = "install a JAX plugin that provides it, or name its library with --config.backend_library=FILE.so."
    released_with_jax: bool = False

    def missing_nodes(self) -> str:
        """Returns a sentence where none of the device files exists, else nothing."""
        if not self.device_nodes or any(glob.glob(pattern) for pattern in self.device_nodes):
            return ""
        return f"No device node ({', '.join(self.device_nodes)}) exists on this machine."


_ROWS = (
    Backend("cpu", hint="reinstall jax and jaxlib in one common version.", released_with_jax=True),
    Backend(
        "cuda",
        device_nodes=("/dev/nvidia[0-9]*", "/dev/dxg"),
        visible_devices_variable="CUDA_VISIBLE_DEVICES",
        hint="pip install -e '.[cuda13]' (or [cuda12]) and check that nvidia-smi lists the device.",
        released_with_jax=True,
    ),
    Backend(
        "ascend",
        device_nodes=("/dev/davinci[0-9]*",),
        visible_devices_variable="ASCEND_RT_VISIBLE_DEVICES",
        hint="source the CANN set_env.sh, then install a PJRT plugin for Ascend or name its library with "
        "--config.backend_library=FILE.so.",
    ),
    Backend(
        "iluvatar",
        device_nodes=("/dev/iluvatar[0-9]*",),
        visible_devices_variable="CUDA_VISIBLE_DEVICES",
        hint="set up CoreX (/usr/local/corex), then name the PJRT plugin's library with "
        "--config.backend_library=FILE.so.",
    ),
)


def known_backends() -> dict[str, Backend]:
    """Returns our rows and those that installed packages add under the entry points ``alexnet_jax.backends``.

    Raises:
      RequestError: If a package's row cannot be read.
    """
    known = {row.name: row for row in _ROWS}
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            known[entry_point.name] = entry_point.load()
        except Exception as error:  # another package's code
            raise RequestError(
                f"the entry point {ENTRY_POINTS}: {entry_point.name} = {entry_point.value} fails "
                f"({type(error).__name__}: {error}); repair or uninstall its package."
            ) from error
    return known


def resolve(name: str, library: str = "", options: Mapping[str, Any] | None = None) -> Backend:
    """Returns what is known of ``name``, with the caller's library and options over it."""
    known = known_backends().get(name, Backend(name))
    return dataclasses.replace(
        known, library=library or known.library, options={**known.options, **(options or {})}
    )
