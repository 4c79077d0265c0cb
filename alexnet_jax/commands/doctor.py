"""Tells whether a device can train AlexNet, operation by operation."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from alexnet_jax.backend.activate import choose
from alexnet_jax.backend.doctor import Report, examine
from alexnet_jax.errors import RequestError, writing

EXAMPLE = "example: python -m alexnet_jax doctor --backend ascend --library plugin.so"
CATALOGUES = ("alexnet_jax.backend.checks", "alexnet_jax.train.device_checks")


def main(arguments: Sequence[str]) -> int:
    """Runs the command: 0 AlexNet can train there, 1 something it needs fails, 2 the backend does not start."""
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_jax doctor", description=__doc__, epilog=EXAMPLE
    )
    parser.add_argument("--backend", default="auto", help="default: JAX's own choice")
    parser.add_argument("--library", default="", help="a PJRT plugin to load under that name")
    parser.add_argument("--json", metavar="FILE", help="for programs; - is standard output")
    parser.add_argument(
        "--only",
        metavar="PART",
        action="append",
        default=[],
        help="only checks with this in their name, e.g. 'max pool'; may be given several times",
    )
    options = parser.parse_args(arguments)
    if options.json not in (None, "-"):
        _refuse_unwritable(Path(options.json))
    report = examine(choose(options.backend, options.library), CATALOGUES, options.only)
    if options.json != "-":
        _print(report)  # before the file is written, which can fail after all
    if options.json:
        values = dataclasses.asdict(report) | {
            "can_train": report.complete and not report.failures,
            "verdict": report.verdict,
        }
        text = json.dumps(values, indent=2) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            with writing(Path(options.json)):
                Path(options.json).write_text(text)
    return 1 if report.failures else 0


def _refuse_unwritable(file: Path) -> None:
    """Raises RequestError where the report could not be written after minutes of checks."""
    if not file.parent.is_dir():
        raise RequestError(f"--json={file}: there is no directory {file.parent}; make it first.")
    if file.is_dir():
        raise RequestError(f"--json={file} is a directory; name a file in it.")
    written = file if file.exists() else file.parent
    if not os.access(written, os.W_OK):
        raise RequestError(
            f"--json={file} cannot be written; make {written} writable, or name another place."
        )


def _print(report: Report) -> None:
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    console.print(", ".join(f"{name} {version}" for name, version in report.versions.items()))
    for platform, found in report.platforms.items():
        console.print(
            f"{platform}: {found['count']} x {found['kind']}, version {found['version']}",
            markup=False,
        )
    if report.is_reference:
        console.print("this is the reference itself: differences are zero by construction")
    table = Table(box=box.SIMPLE)
    for heading in ("operation", "result", "detail"):
        table.add_column(heading, overflow="fold")
    for row in report.rows:
        name = row.name if row.needed else f"{row.name} (optional)"
        table.add_row(name, row.status, row.detail)
    console.print(table, markup=False)
    console.print(report.verdict, markup=False)
