"""The run card, ``run.json``: what was run, on what, and what came of it."""

import importlib.metadata
import platform
import sys
from typing import Any

import jax

import alexnet_jax
from alexnet_jax.backend.capabilities import peak_memory_bytes
from alexnet_jax.train.metrics import Averages

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def versions() -> dict[str, str]:
    """Returns the versions of this package, of Python and of what the run depends on."""
    own = {"alexnet_jax": alexnet_jax.__version__, "python": platform.python_version()}
    return own | {name: importlib.metadata.version(name) for name in PACKAGES}


def describe_devices(devices: list[jax.Device]) -> dict[str, Any]:
    """Returns the platform, kind and number of the devices, and the version of what drives them."""
    first = devices[0]
    return {
        "platform": first.platform,
        "kind": first.device_kind,
        "count": len(devices),
        "processes": jax.process_count(),
        "platform_version": " ".join(first.client.platform_version.split()),
    }


def device_name(device: jax.Device) -> str:
    """Returns the kind, the platform and its version in one line."""
    return "{kind} ({platform}, {platform_version})".format(**describe_devices([device]))


def device_line(devices: list[jax.Device]) -> str:
    """Returns the same with how many they are, as each record of ``metrics.jsonl`` has it."""
    return f"{len(devices)} x {device_name(devices[0])}"


def run_card(
    *,
    config: dict[str, Any],
    devices: list[jax.Device],
    precision: str,
    parallelism: str,
    fingerprints: dict[str, str],
    broken_images: dict[str, int],
    start_step: int,
    stop_step: int,
    time_split: dict[str, float],
    images: int,
    expected_memory_bytes: int | None,
    final: Averages,
) -> dict[str, Any]:
    """Returns the card of a finished run.

    Args:
      config: Resolved.
      devices: Trained on.
      precision: Computed in, "auto" resolved.
      parallelism: Spread by, "auto" resolved.
      fingerprints: Of the data, by split.
      broken_images: How many could not be read, by split.
      start_step: Where this process began: 0, or the step of the checkpoint it continued.
      stop_step: Steps done in the whole run.
      time_split: Seconds, from ``Clock``.
      images: Trained on by this process.
      expected_memory_bytes: Of the compiled training step, on each device; None where not known.
      final: Of the last evaluation.
    """
    training_seconds = time_split["step"] + time_split["input_wait"]
    return {
        "command": sys.argv,
        "config": config,
        "versions": versions(),
        "device": describe_devices(devices),
        "precision": precision,
        "parallelism": parallelism,
        "data_fingerprint": fingerprints,
        "broken_images": broken_images,
        "start_step": start_step,
        "steps": stop_step,
        "time_seconds": {name: round(seconds, 3) for name, seconds in time_split.items()},
        "images_per_second": images / training_seconds if images else None,
        "expected_memory_bytes": expected_memory_bytes,
        "peak_memory_bytes": peak_memory_bytes(jax.local_devices()[0]),
        "final": final.record(),
    }
