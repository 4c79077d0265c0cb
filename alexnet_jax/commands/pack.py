"""Decodes a data set once into memory-mapped pixels, to be trained from with data.source=packed."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from alexnet_jax.config import default_config
from alexnet_jax.data.pack import Request, pack, verify
from alexnet_jax.data.sources import cifar10, digits, folder, tfds
from alexnet_jax.data.sources.base import SPLITS, Source, SourceSettings
from alexnet_jax.data.sources.packed import read_manifest
from alexnet_jax.errors import RequestError
from alexnet_jax.options import AT_LEAST_ONE, Rules, number_faults, refuse

EPILOG = """\
SOURCE is one of
  folder:DIR              DIR/train and DIR/val, one folder of JPEGs or PNGs a class; or the class
                          folders alone, and --eval-fraction of each class to evaluate with
  tfds:NAME[@DIR]         a prepared TFDS data set, in ArrayRecord or TFRecord
  cifar10_binary:DIR
  digits
An interrupted call is continued by the same call again.

examples:
  python -m alexnet_jax pack folder:/data/imagenet /data/imagenet-256
  python -m alexnet_jax pack --verify /data/imagenet-256
  python -m alexnet_jax.main --config configs/imagenet.py --config.data.source=packed \\
      --config.data.path=/data/imagenet-256"""

NUMBERS: Rules = {
    "size": AT_LEAST_ONE,
    "shard_mebibytes": AT_LEAST_ONE,
    "max_broken_fraction": ("a number in [0, 1]", lambda value: 0 <= value <= 1),
    "eval_fraction": ("a number in [0, 1)", lambda value: 0 <= value < 1),
    "num_threads": ("at least 0", lambda value: value >= 0),
}
OPEN: dict[str, Callable[[SourceSettings, str], Source]] = {
    "folder": folder.open_split,
    "tfds": tfds.open_for_packing,
    "cifar10_binary": cifar10.open_split,
    "digits": digits.open_split,
}


def main(arguments: Sequence[str]) -> int:
    """Runs the command."""
    data = default_config().data
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_jax pack",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="not needed with --verify")
    parser.add_argument("out", type=Path, metavar="OUT", help="directory to write")
    parser.add_argument("--size", type=int, default=256, help="pixels a side (default 256)")
    parser.add_argument("--verify", action="store_true", help="compare OUT with its checksums")
    parser.add_argument("--train-split", default=data.train_split, help="of tfds")
    parser.add_argument("--eval-split", default=data.eval_split, help="of tfds")
    parser.add_argument(
        "--eval-fraction", type=float, default=data.eval_fraction, help="of class folders alone"
    )
    parser.add_argument("--shard-mebibytes", type=int, default=1024, help="a file (default 1024)")
    parser.add_argument(
        "--max-broken-fraction",
        type=float,
        default=data.max_broken_fraction,
        help="of a split; with more unreadable images nothing is packed (default 0.001)",
    )
    parser.add_argument("--num-threads", type=int, default=0, help="decoding; 0: one a processor")
    options = parser.parse_args(arguments)
    if options.verify:
        return _verify(options.out)
    if options.source is None:
        raise RequestError(
            "pack needs SOURCE and OUT; got only one of them. --help lists the sources."
        )
    refuse(number_faults(options, NUMBERS))
    request = Request(
        name=options.source,
        sources=_open(options),
        size=options.size,
        shard_bytes=options.shard_mebibytes * 2**20,
        max_broken_fraction=options.max_broken_fraction,
        num_threads=options.num_threads or os.cpu_count() or 1,
    )
    manifest = _pack(request, options.out)
    replaced = {name: view["replaced"] for name, view in manifest["views"].items()}
    if any(replaced.values()):
        counts = ", ".join(f"{count} in {name}" for name, count in replaced.items())
        print(f"replaced broken images: {counts}")
    print(f"{options.out} is ready: --config.data.source=packed --config.data.path={options.out}")
    return 0


def _open(options: argparse.Namespace) -> dict[str, Source]:
    kind, _, rest = options.source.partition(":")
    if kind not in OPEN:
        raise RequestError(
            f"SOURCE={options.source!r} is unknown; it begins with {', '.join(OPEN)}."
        )
    name, path = "", rest
    if kind == "tfds":
        name, _, path = rest.partition("@")
    settings = SourceSettings(
        path=path,
        image_size=options.size,
        num_classes=0,
        synthetic_examples=0,
        seed=0,
        name=name,
        train_split=options.train_split,
        eval_split=options.eval_split,
        eval_fraction=options.eval_fraction,
    )
    return {split: OPEN[kind](settings, split) for split in SPLITS}


def _pack(request: Request, out: Path) -> dict:
    console = Console(stderr=True, highlight=False, emoji=False)
    bar = Progress(
        TextColumn("packing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} images/s"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    start, first = time.perf_counter(), -1
    with bar:
        task = bar.add_task("pack", total=None, rate=0.0)

        def progress(done: int, total: int) -> None:
            nonlocal first
            first = done if first < 0 else first
            rate = (done - first) / max(time.perf_counter() - start, 1e-9)
            bar.update(task, completed=done, total=total, rate=rate)
            if not console.is_terminal and (done == total or done % 10_000 == 0):
                print(
                    f"packed {done} of {total} stored images, {rate:.0f} images/s", file=sys.stderr
                )

        return pack(request, out, progress)


def _verify(out: Path) -> int:
    wrong = verify(out, read_manifest(out))
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print(f"{out}: every file is as it was packed")
    return 1 if wrong else 0
