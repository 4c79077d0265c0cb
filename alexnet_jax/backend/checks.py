"""What the doctor tries besides single operations: what involves the runtime, several devices or the host."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np

from alexnet_jax.backend import capabilities
from alexnet_jax.backend.operations import OPERATIONS, Operation, difference

OK, UNSUPPORTED, WRONG, CRASH = "ok", "unsupported", "WRONG", "CRASH"


@dataclasses.dataclass(frozen=True)
class Check:
    """One row of the doctor's table.

    Attributes:
      name: Its name there.
      run: ``(devices) -> (status, detail)``; what it raises is "unsupported".
      needed: Whether AlexNet cannot train without it.
    """

    name: str
    run: Callable[[Sequence[jax.Device]], tuple[str, str]]
    needed: bool = True


def reference() -> jax.Device:
    """Returns the device whose results are the right ones: the CPU."""
    return jax.local_devices(backend="cpu")[0]


def compare(operation: Operation) -> Check:
    """Returns the check of an operation: the first device's result against the CPU's."""

    def run(devices: Sequence[jax.Device]) -> tuple[str, str]:
        results = []
        for device in (devices[0], reference()):
            arguments = [jax.device_put(x, device) for x in operation.arguments()]
            results.append(jax.device_get(jax.jit(operation.function)(*arguments)))
        error = difference(*results)
        return OK if error <= operation.tolerance else WRONG, f"relative difference {error:.1e}"

    return Check(operation.name, run, operation.needed)


def _donation(devices: Sequence[jax.Device]) -> tuple[str, str]:
    if capabilities.donates(devices[0]):
        return OK, ""
    return UNSUPPORTED, "each step copies the state"


def _memory(devices: Sequence[jax.Device]) -> tuple[str, str]:
    if capabilities.peak_memory_bytes(devices[0]) is not None:
        return OK, ""
    return UNSUPPORTED, "run.json leaves peak_memory_bytes out"


def _transfer(devices: Sequence[jax.Device]) -> tuple[str, str]:
    """There and back: the types that a batch and a state consist of."""
    for dtype in ("uint8", "int32", "bool", "float32"):
        sent = np.arange(24).reshape(2, 3, 4).astype(dtype)
        for device in devices:
            if not np.array_equal(np.asarray(jax.device_put(sent, device)), sent):
                return WRONG, f"{dtype} comes back changed from {device}"
    return OK, ""


def _all_reduce(devices: Sequence[jax.Device]) -> tuple[str, str]:
    got, expected = capabilities.all_reduce(devices), len(devices) * (len(devices) + 1) // 2
    detail = f"over {len(devices)} device{'s' * (len(devices) > 1)}"
    return (OK, detail) if got == expected else (WRONG, f"{detail}: {got:g} and not {expected}")


CHECKS: Sequence[Check] = (
    Check("transfer", _transfer),
    *(compare(operation) for operation in OPERATIONS),
    Check("all-reduce", _all_reduce),
    Check("donation", _donation, needed=False),
    Check("memory statistics", _memory, needed=False),
)
