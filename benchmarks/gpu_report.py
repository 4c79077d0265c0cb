"""Everything to measure on a GPU in one go: bash scripts/gpu_report.sh [OUT] [options]; writes one JSON and one table.

Needs jax, flax, optax and NumPy, and PyTorch for the comparison. Results are first compared with float32 on the CPU.
Every figure is a median after a warm-up, of random images; ways that are compared take turns.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flax
import gpu_parts
import gpu_steps
import jax
import numpy as np
import optax
from gpu_formulations import NAMES

from alexnet_jax.train import ceilings


def describe(device: jax.Device) -> dict[str, Any]:
    """Returns the device, its measured ceilings and the versions."""
    versions = {module.__name__: module.__version__ for module in (jax, flax, optax, np)}
    try:
        import torch
    except ImportError:
        versions["torch"] = "not installed"
    else:
        versions["torch"] = torch.__version__
    return {
        "command": sys.argv,
        "device": f"{device.device_kind} ({device.platform})",
        "driver": " ".join(device.client.platform_version.split()),
        "python": platform.python_version(),
        "versions": versions,
        "matrix_product_flops": {
            name: ceilings.matrix_product_flops(device, dtype)
            for name, dtype in gpu_steps.DTYPES.items()
        },
        "copy_bytes_per_second": ceilings.copy_bytes_per_second(device),
    }


def measure(options: argparse.Namespace, save: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Returns the report; ``save`` is called after each part, so that a failure leaves what was measured."""
    device = jax.devices()[0]
    request = gpu_steps.Request(
        options.variant, options.image_size, options.num_classes, device, options.rounds
    )
    small = gpu_steps.Request("cifar32", 32, 10, device, options.rounds)
    report = {"about": describe(device)}
    torch = report["about"]["versions"]["torch"] != "not installed"
    largest = max(options.batch_sizes)
    for part, rows in {
        "checks": lambda: [
            gpu_steps.check(request, p, n) for p in options.precisions for n in NAMES
        ],
        "steps": lambda: [
            row
            for p in options.precisions
            for row in gpu_steps.time_steps(request, options.batch_sizes, p, NAMES, torch)
        ],
        "layers": lambda: [
            row
            for p in options.precisions
            for row in gpu_parts.time_layers(request, options.batch_sizes[0], p)
        ],
        "augmentation": lambda: [gpu_parts.time_augmentation(request, largest)],
        "transfer": lambda: [gpu_parts.time_transfer(request, n) for n in options.batch_sizes],
        "resident": lambda: [
            row
            for p in options.precisions
            for n in NAMES
            for row in gpu_steps.train_resident(small, options.resident_batch_size, p, n)
        ],
        "profile": lambda: gpu_parts.profile(
            request, options.batch_sizes[0], options.precisions[-1], NAMES[0], options.out
        ),
        "memory": lambda: [
            {"peak_bytes_in_use": (device.memory_stats() or {}).get("peak_bytes_in_use")}
        ],
    }.items():
        report[part] = rows()
        save(report)
    return report


def table(report: dict[str, Any]) -> str:
    """Returns the report as text, one section a part."""
    about = report["about"]
    lines = [about["device"], ", ".join(f"{k} {v}" for k, v in about["versions"].items())]
    for part, rows in report.items():
        if part == "about" or not rows:
            continue
        names = list(rows[0])
        cells = [names, *([_text(row[name]) for name in names] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines += ["", part]
        lines += [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes OUT/gpu_report.json and OUT/gpu_report.txt, and returns 1 where a check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=Path("gpu_report"))
    parser.add_argument("--variant", default="torchvision")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--num-classes", type=int, default=1000)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 512, 1024, 2048])
    parser.add_argument(
        "--precisions", nargs="+", choices=gpu_steps.DTYPES, default=list(gpu_steps.DTYPES)
    )
    parser.add_argument("--resident-batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    def save(report: dict[str, Any]) -> None:
        (options.out / "gpu_report.json").write_text(json.dumps(report, indent=1) + "\n")
        (options.out / "gpu_report.txt").write_text(table(report))

    report = measure(options, save)
    print(table(report), end="")
    return 0 if all(row["right"] for row in report["checks"]) else 1


if __name__ == "__main__":
    sys.exit(main())
