"""What the devices can do, asked of the devices: only what changes how we train on them."""

import functools
import warnings
from collections.abc import Container, Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from alexnet_jax.backend.platforms import resolve
from alexnet_jax.errors import RequestError

HALVES = ("bfloat16", "float16")  # by preference: bfloat16 needs no loss scaling


def own_device(devices: Sequence[jax.Device]) -> jax.Device:
    """Returns the first of ``devices`` that belongs to this process; others cannot be asked."""
    return next(device for device in devices if device.process_index == jax.process_index())


def is_cpu(device: jax.Device) -> bool:
    """Returns whether ``device`` computes on the host's own processors and in its memory."""
    return device.platform == "cpu"


def automatic_precision(device: jax.Device, supported: Container[str] = HALVES) -> str:
    """Returns the precision "auto" stands for on ``device``: the first of ``HALVES`` that it has, else float32.

    A CPU computes in float32: few have bfloat16 arithmetic, and without it bfloat16 is slower.

    Args:
      device: To compute on.
      supported: The precisions that the trainer has.
    """
    if device.platform == "cpu":
        return "float32"
    halves = (name for name in HALVES if name in supported and differentiates(device, name))
    return next(halves, "float32")


def automatic_layers(device: jax.Device) -> str:
    """Returns the formulation of the layers that "auto" stands for on ``device``.

    On a CPU "fast", which was made for it (benchmarks.md); elsewhere "plain", which leaves convolutions and pooling to
    the vendor's kernels, until a measurement says otherwise.
    """
    return "fast" if device.platform == "cpu" else "plain"


@functools.cache
def differentiates(device: jax.Device, dtype: str) -> bool:
    """Returns whether a convolution in ``dtype`` and its gradient run on ``device`` and are right."""

    def precision_check(kernel: jax.Array) -> jax.Array:
        x = jnp.ones((1, 4, 4, 1), dtype)
        y = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y.astype(jnp.float32).sum()

    try:
        kernel = jax.device_put(np.ones((3, 3, 1, 1), jnp.dtype(dtype)), device)
        gradient = jax.device_get(jax.jit(jax.grad(precision_check))(kernel))
    except jax.errors.JaxRuntimeError:
        return False
    return bool(gradient[1, 1, 0, 0] == 16)  # the centre of the kernel touches all 16 pixels


@functools.cache
def donates(device: jax.Device) -> bool:
    """Returns whether ``device`` reuses the memory of donated arguments; JAX ignores the wish on platforms it lacks."""

    def donation_check(x: jax.Array) -> jax.Array:
        return x + 1

    x = jax.device_put(np.zeros(16, np.float32), device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*donated buffers were not usable")
        jax.block_until_ready(jax.jit(donation_check, donate_argnums=0)(x))
    return x.is_deleted()


def peak_memory_bytes(device: jax.Device) -> int | None:
    """Returns the most memory ``device`` had in use so far; None where the platform does not count it."""
    return _memory_statistics(device).get("peak_bytes_in_use")


def memory_bytes(device: jax.Device) -> int | None:
    """Returns how much memory of ``device`` JAX may use; None where the platform does not say, as on a CPU."""
    return _memory_statistics(device).get("bytes_limit")


def _memory_statistics(device: jax.Device) -> dict[str, Any]:
    try:
        return device.memory_stats() or {}
    except jax.errors.JaxRuntimeError:  # the plugin has no such function
        return {}


def check_all_reduce(name: str, devices: Sequence[jax.Device]) -> None:
    """Adds up a number of each device over all of them.

    Args:
      name: Of the backend, to word the refusal.
      devices: To train on.

    Raises:
      RequestError: If there are several and they cannot add up, or do it wrong: every gradient would be wrong.
    """
    if len(devices) == 1:
        return
    expected = len(devices) * (len(devices) + 1) // 2
    try:
        got = all_reduce(devices)
        problem = "" if got == expected else f"it gave {got:g} and not {expected}"
    except jax.errors.JaxRuntimeError as error:
        problem = str(error).splitlines()[0]
    if problem:
        variable = resolve(name).visible_devices_variable
        how = f", e.g. {variable}=0" if variable else " with the variable of its vendor"
        raise RequestError(
            f"backend {name!r} cannot add up over its {len(devices)} devices: {problem}. "
            f"Try: one device{how}."
        )


def all_reduce(devices: Sequence[jax.Device]) -> float:
    """Returns 1 + 2 + ... + n, each number from one of the n devices, added up by them."""

    def all_reduce_check(x: jax.Array) -> jax.Array:
        return x.sum()

    mesh = Mesh(np.array(devices), ("devices",), axis_types=(AxisType.Auto,))
    numbers = np.arange(1, len(devices) + 1, dtype=np.float32)
    by_device = NamedSharding(mesh, PartitionSpec("devices"))
    x = jax.make_array_from_callback(numbers.shape, by_device, lambda index: numbers[index])
    total = jax.jit(all_reduce_check, out_shardings=NamedSharding(mesh, PartitionSpec()))(x)
    return float(np.asarray(total.addressable_data(0)))


def describe_limits(device: jax.Device) -> str:
    """Returns one line of what ``device`` cannot do and the run does without; empty where nothing is missing."""
    if device.platform == "cpu":
        return ""
    missing = [f"{name} convolutions" for name in HALVES if not differentiates(device, name)]
    if not donates(device):
        missing.append("donation (each step copies the state)")
    if not _memory_statistics(device):
        missing.append("memory statistics")
    return f"{device.platform} does without: {', '.join(missing)}" if missing else ""
