"""The training command on images that vanish or do not answer at a fixed step: python -m tests.faults.reads DIR.

The run itself spoils its data, so that nothing depends on its speed. One process runs every case, for its start is
slow; the last case ends it. DIR gets CASE.log and CASE.json of each.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from alexnet_jax import main
from alexnet_jax.data.sources.folder import FolderSource
from alexnet_jax.train import loop
from tests.data.folders import write_folder
from tests.faults import harness

SPOILED_AT = 3  # of two steps an epoch: every training image is read again, whatever lies ready
TRAIN, EVAL = "train/class0/train001.JPEG", "val/class1/val009.JPEG"


def _nothing(photos: Path, workdir: Path) -> None:
    pass


def _vanish(photos: Path, workdir: Path) -> None:
    for name in (TRAIN, EVAL):
        (photos / name).unlink()


def _vanish_one(photos: Path, workdir: Path) -> None:
    (photos / TRAIN).unlink()


def _stall(photos: Path, workdir: Path) -> None:
    """Replaces an image by a pipe that nobody writes to: opening it waits, as on a mount that does not answer."""
    (photos / TRAIN).unlink()
    os.mkfifo(photos / TRAIN)


def _stall_until_told(photos: Path, workdir: Path) -> None:
    data = (photos / TRAIN).read_bytes()
    _stall(photos, workdir)
    threading.Thread(target=_feed, args=(photos / TRAIN, data, workdir), daemon=True).start()


def _feed(pipe: Path, data: bytes, workdir: Path) -> None:
    """Writes the image once somebody reads it and the run has told, since then, that it waits for the input."""
    metrics = workdir / "metrics.jsonl"
    with pipe.open("wb") as file:
        before = metrics.stat().st_size
        while b"waits for the input" not in metrics.read_bytes()[before:]:
            time.sleep(0.05)
        pipe.rename(pipe.with_suffix(".pipe"))
        pipe.write_bytes(data)
        file.write(data)


def _fail(photos: Path, workdir: Path) -> None:
    read = FolderSource.__getitem__

    def failing(self: FolderSource, index: int) -> object:
        FolderSource.__getitem__ = read
        raise RuntimeError(f"the reader of {self.describe(index)} failed")

    FolderSource.__getitem__ = failing


CASES: dict[str, tuple[Callable[[Path, Path], None], list[str]]] = {
    "nothing": (_nothing, []),
    "vanish": (_vanish, ["--config.data.max_broken_fraction=0.2"]),
    "vanish too many": (_vanish_one, []),
    "stall": (_stall_until_told, ["--config.health.stall_seconds=0.5"]),
    "fail": (_fail, []),
    "stall for ever": (
        _stall,
        ["--config.health.stall_seconds=0.5", "--config.health.max_stall_seconds=5"],
    ),
}


def _run(out: Path, name: str) -> dict[str, object]:
    spoil, settings = CASES[name]
    photos, workdir = out / "photos" / name, out / "runs" / name
    write_folder(photos, per_class=8)
    step = loop.RunConsole.step

    def spoiled(self: loop.RunConsole, done: int, epoch: float) -> None:
        if done == SPOILED_AT:
            spoil(photos, workdir)
        step(self, done, epoch)

    loop.RunConsole.step = spoiled
    settings = [
        *("--config.data.source=folder", f"--config.data.path={photos}", *settings),
        *("--config.model.num_classes=2", "--config.num_epochs=6"),
    ]
    try:
        status: object = main.main(harness.command(workdir, *settings)[2:])
    except Exception as error:  # the program would end with its traceback
        status = f"{type(error).__name__}: {error}"
    finally:
        loop.RunConsole.step = step
    card = workdir / "run.json"
    return {"status": status, "card": json.loads(card.read_text()) if card.exists() else None}


def _main(out: Path) -> None:
    for name in CASES:
        with (out / f"{name}.log").open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        (out / f"{name}.json").write_text(json.dumps(_run(out, name)))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
