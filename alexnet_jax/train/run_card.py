"""The run card, ``run.json``: what was run, on what, and what came of it; and what earlier starts of a run wrote."""

import importlib.metadata
import json
import platform
import sys
from pathlib import Path
from typing import Any

import jax

import alexnet_jax
from alexnet_jax.backend.capabilities import peak_memory_bytes
from alexnet_jax.errors import RequestError
from alexnet_jax.train.metrics import Averages
from alexnet_jax.train.settings import changes
from alexnet_jax.train.writers import CONFIG_FILE, read_object

RUN_CARD_FILE = "run.json"
LOOK = (  # the settings that say what an evaluation sees
    *("data.image_size", "data.mean", "data.std"),
    *("eval.protocol", "eval.resize_pixels", "eval.use_ema"),
)
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
    """Returns the kind, the platform and its version in one line; of a CPU, where all three are "cpu", that word."""
    told = describe_devices([device])
    kind, *others = dict.fromkeys(told[name] for name in ("kind", "platform", "platform_version"))
    return f"{kind} ({', '.join(others)})" if others else kind


def device_line(devices: list[jax.Device]) -> str:
    """Returns the same with how many they are, as each record of ``metrics.jsonl`` has it."""
    return f"{len(devices)} x {device_name(devices[0])}"


def make(
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


def finished(workdir: Path, steps: int, notes: list[str]) -> dict[str, Any] | None:
    """Returns the card a run wrote when it had done all its steps: there is nothing to add to it.

    Args:
      workdir: The run's.
      steps: How many it has to do.
      notes: Gets a warning where the card is damaged.

    Returns:
      The card, or None where there is none, or one of another number of steps.
    """
    card = _read_before(workdir / RUN_CARD_FILE, notes)
    whole = {"steps", "config", "images_per_second"} <= card.keys()
    return card if whole and card["steps"] == steps else None


def changed_settings(settings: dict[str, Any], workdir: Path, notes: list[str]) -> list[str]:
    """Returns which of the resolved settings differ from those the run began with, a text each; ``notes`` as above."""
    before = _read_before(workdir / CONFIG_FILE, notes)
    return changes(before, json.loads(json.dumps(settings))) if before else []


def changed_look(settings: dict[str, Any], workdir: Path) -> list[str]:
    """Returns how an evaluation with these settings would look at images otherwise than the run's own, a text each."""
    texts = changed_settings(settings, workdir, [])
    return [text for text in texts if text.partition(":")[0] in LOOK]


def _read_before(path: Path, notes: list[str]) -> dict[str, Any]:
    """Returns what the run wrote before; nothing where there is no such file, or a damaged one, which is noted."""
    try:
        return read_object(path) if path.exists() else {}
    except RequestError as damage:
        notes.append(f"warning: {damage} This start writes it anew.")
        return {}
