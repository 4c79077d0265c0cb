"""Lists a variant's layers, shapes, parameters and multiply-accumulates."""

import argparse
import dataclasses
import json
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from alexnet_jax.model.summary import Summary, summarize
from alexnet_jax.model.variants import variants

EXAMPLE = "example: python -m alexnet_jax summary --variant torchvision"


def main(arguments: Sequence[str]) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_jax summary", description=__doc__, epilog=EXAMPLE
    )
    parser.add_argument("--variant", required=True, help=f"one of: {', '.join(variants())}")
    parser.add_argument("--image-size", type=int, help="pixels; default: the publisher's")
    parser.add_argument("--num-classes", type=int, help="default: the publisher's")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)
    summary = summarize(
        options.variant, image_size=options.image_size, num_classes=options.num_classes
    )
    if options.json:
        print(json.dumps(dataclasses.asdict(summary)))
    else:
        _print_table(summary)
    return 0


def _print_table(summary: Summary) -> None:
    table = Table(box=box.SIMPLE, title=f"{summary.variant}, {summary.image_size} pixels")
    table.add_column("layer")
    for heading in ("output", "parameters", "MACs"):
        table.add_column(heading, justify="right")
    for layer in summary.layers:
        shape = " x ".join(str(n) for n in layer.output_shape)
        table.add_row(layer.name, shape, f"{layer.parameters:,}", f"{layer.macs:,}")
    table.add_section()
    table.add_row("total", "", f"{summary.parameters:,}", f"{summary.macs:,}")
    Console(highlight=False, emoji=False).print(table)
