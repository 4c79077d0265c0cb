"""What limits a run, from the measured rates of its parts, and what would lift it."""

from collections.abc import Mapping
from typing import Any

LIMITS = ("input", "transfer", "step")


def host_rate(figures: Mapping[str, Any]) -> float:
    """Returns the images a second that the host can prepare: read and decoded by the same threads, or gathered."""
    parts = [figures[name] for name in ("read", "decode", "gather") if figures[name] is not None]
    return 1 / sum(1 / rate for rate in parts)


def name_limit(figures: Mapping[str, Any]) -> str:
    """Returns which of ``LIMITS`` is slowest.

    Args:
      figures: Images a second: "read" and "decode" or "gather", "transfer", and "images_per_second" of the step.
    """
    rates = {
        "input": host_rate(figures),
        "transfer": figures["transfer"],
        "step": figures["images_per_second"],
    }
    return min(LIMITS, key=rates.__getitem__)


def remedies(
    figures: Mapping[str, Any], *, threads: int, processors: int, fits_device: bool
) -> list[str]:
    """Returns what would lift the limit, the most promising first.

    Args:
      figures: Of ``benchmark all``.
      threads: That decode.
      processors: Of this machine.
      fits_device: Whether the images, as arrays, would fit on the device.
    """
    encoded = figures["decode"] is not None
    resident = ["keep the data on the device: data.resident='true'"] if fits_device else []
    if figures["limit"] == "input" and encoded:
        more = [f"more decoding threads: data.num_threads={processors}, now {threads}"]
        pack = "decode once: python -m alexnet_jax pack, then data.source='packed'"
        return [pack, *(more if threads < processors else []), "more processors"]
    if figures["limit"] == "input":
        return [*resident, "a smaller packed size: pack --size", "more processors"]
    if figures["limit"] == "transfer":
        return [*resident, "a larger batch_size, for fewer and longer transfers"]
    faster = ["model.precision='bfloat16'"] if figures["precision"] == "float32" else []
    return [*faster, "a larger batch_size, while memory lasts", "more devices"]
