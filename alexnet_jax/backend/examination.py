"""``python -m alexnet_jax.backend.examination``, a child of the doctor: runs checks one after the other."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jaxlib
from jax.extend.backend import backends

from alexnet_jax.backend import child
from alexnet_jax.backend.activate import start, start_own_choice
from alexnet_jax.backend.checks import UNSUPPORTED, Check, reference
from alexnet_jax.backend.platforms import Backend
from alexnet_jax.errors import RequestError


def answer(request: child.Message, report: Callable[[child.Message], None]) -> None:
    """Starts the backend, says what is there, and reports every check when it begins and what came of it."""
    try:
        chosen = request["backend"]
        devices = start(Backend(**chosen)) if chosen else start_own_choice()
    except RequestError as error:
        report({"refused": str(error)})
        return
    report(
        {
            "platforms": _platforms(),
            "versions": _versions(devices[0]),
            "is_reference": devices[0] == reference(),
        }
    )
    for catalogue in request["catalogues"]:
        for check in importlib.import_module(catalogue).CHECKS:
            wanted = not request["only"] or any(part in check.name for part in request["only"])
            if wanted and check.name not in request["skip"]:
                report({"begun": check.name, "needed": check.needed})
                report(_result(check, devices))
    report({"done": True})


def _result(check: Check, devices: Sequence[jax.Device]) -> child.Message:
    try:
        status, detail = check.run(devices)
    except Exception as error:  # whatever a plugin raises: it cannot do this
        lines = str(error).splitlines() or [""]
        status, detail = UNSUPPORTED, f"{type(error).__name__}: {lines[0]}"
    return {"name": check.name, "status": status, "detail": detail, "needed": check.needed}


def _platforms() -> dict[str, Any]:
    """Returns every platform that JAX has started here: the chosen one, the CPU, and whatever plugins are installed."""
    return {
        name: {
            "kind": client.devices()[0].device_kind,
            "count": client.device_count(),
            "version": " ".join(client.platform_version.split()),
        }
        for name, client in backends().items()
    }


def _versions(device: jax.Device) -> dict[str, str]:
    versions = {"jax": jax.__version__, "jaxlib": jaxlib.__version__}
    client: Any = device.client
    if hasattr(client, "pjrt_c_api_minor_version"):  # plugins only
        major, minor = client.pjrt_c_api_major_version, client.pjrt_c_api_minor_version
        versions["pjrt"] = f"{major}.{minor}"
    return versions


if __name__ == "__main__":
    child.serve(answer)
