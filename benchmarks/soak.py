"""Trains for hours from image files and watches memory, open files and speed; see docs/reliability.md.

    python benchmarks/soak.py [--minutes 120] [--workdir DIR]

`configs/digits.py` without end, from JPEG files, with an evaluation every epoch and a checkpoint every 200 steps. Each
line tells of one tenth of the time, looked at once a second. Of memory, files and threads it gives the least and the
most seen: a checkpoint opens files and takes threads and memory for a moment, and what a run never gives back shows in
the least. Two kinds of memory: the process's own, and its share of mapped files (programs and libraries), which the
kernel takes back and reads again as it likes. Two rates: per second of the clock, and per second of processor time.

A shared machine's own speed changes more in two hours than a run might. So at the end the same run starts a second
time, beside the old one, and they take turns, the other one stopped: whether the old one has become slower is the
ratio of their speeds. Ends with SIGTERM, and fails where a run ends otherwise.
"""

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[1]
PARTS = 10
SAMPLE_SECONDS = 1
METRICS_TAIL = 65_536  # bytes of metrics.jsonl in which its last line is looked for
TURNS = 12  # of each of the two runs at the end
TURN_SECONDS = 30
WARM_STEPS = 500  # of the second run, before the turns


class Sample(NamedTuple):
    """What is seen of the run at one moment."""

    seconds: float
    cpu_seconds: float
    own_mib: float
    mapped_mib: float
    open_files: int
    threads: int
    step: int
    checkpoints: int


def write_images(folder: Path) -> None:
    """Writes the digits as JPEG files of 64 x 64 pixels, a fifth of them to evaluate on."""
    digits = load_digits()
    for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        split = "val" if index % 5 == 0 else "train"
        path = folder / split / str(label) / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((pixels * 255 / 16).astype(np.uint8)).convert("RGB")
        image.resize((64, 64), Image.Resampling.BILINEAR).save(path, quality=90)


def command(data: Path, workdir: Path) -> list[str]:
    """Returns the run's command line."""
    settings = {
        "data.source": "folder",
        "data.path": data,
        "data.resident": "false",
        "num_epochs": 1_000_000,
        "schedule.name": "constant",
        "schedule.warmup_epochs": 0.0,
        "optimizer.learning_rate": 0.01,
        "eval_every_epochs": 1,
        "checkpoint.every_epochs": 0,
        "checkpoint.every_steps": 200,
    }
    overrides = [f"--config.{key}={value}" for key, value in settings.items()]
    main = [sys.executable, "-m", "alexnet_jax.main", f"--config={ROOT}/configs/digits.py"]
    return [*main, f"--workdir={workdir}", *overrides]


def tail(path: Path) -> bytes:
    """Returns a file's last bytes; none where there is no file."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - METRICS_TAIL))
        return file.read()


def spread(values: Iterable[float]) -> str:
    """Returns the least and the most, as ``"10..29"``."""
    values = list(values)
    return f"{min(values):.0f}..{max(values):.0f}"


def observe(pid: int, workdir: Path, start: float) -> Sample:
    """Reads a process's state from /proc and its step from what it wrote."""
    process = Path(f"/proc/{pid}")
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    ticks = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
    lines = tail(workdir / "metrics.jsonl").rpartition(b"\n")[0].splitlines()
    return Sample(
        seconds=time.monotonic() - start,
        cpu_seconds=sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"),
        own_mib=int(status["RssAnon"].split()[0]) / 1024,
        mapped_mib=int(status["RssFile"].split()[0]) / 1024,
        open_files=len(list((process / "fd").iterdir())),
        threads=int(status["Threads"]),
        step=json.loads(lines[-1]).get("step", 0) if lines else 0,
        checkpoints=len(list((workdir / "checkpoints").glob("[0-9]*"))),
    )


def report(samples: list[Sample], batch_size: int) -> None:
    """Prints a line for each tenth of the time."""
    print(f"Python {sys.version.split()[0]}, {samples[-1].seconds / 60:.0f} minutes")
    print(
        "minutes   step  images/s  images/CPU-s   own MiB (median)  mapped MiB  open files  threads"
        "  checkpoints"
    )
    edges = np.linspace(0, samples[-1].seconds, PARTS + 1)
    for low, high in itertools.pairwise(edges):
        part = [sample for sample in samples if low <= sample.seconds <= high]
        first, last = part[0], part[-1]
        images = (last.step - first.step) * batch_size
        print(
            f"{high / 60:7.0f} {last.step:6} {images / (last.seconds - first.seconds):9.0f}"
            f" {images / (last.cpu_seconds - first.cpu_seconds):13.0f}"
            f" {spread(s.own_mib for s in part):>10} {statistics.median(s.own_mib for s in part):7.0f}"
            f" {spread(s.mapped_mib for s in part):>11} {spread(s.open_files for s in part):>11}"
            f" {spread(s.threads for s in part):>8} {statistics.median(s.checkpoints for s in part):12.0f}"
        )


class Run:
    """A training in a process of its own."""

    def __init__(self, data: Path, workdir: Path):
        """Starts it; ``workdir`` is made, and gets all it prints too, in ``output.log``."""
        workdir.mkdir(parents=True, exist_ok=True)
        self._workdir, self._start = workdir, time.monotonic()
        self._log = workdir / "output.log"
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                command(data, workdir), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )

    def ended(self) -> bool:
        """Returns whether it has ended."""
        return self._process.poll() is not None

    def observe(self) -> Sample:
        """Returns what is seen of it now."""
        return observe(self._process.pid, self._workdir, self._start)

    def turn(self, seconds: float) -> Sample:
        """Lets it work for some seconds, and returns what it did in them: later minus earlier."""
        self._process.send_signal(signal.SIGCONT)
        before = self.observe()
        time.sleep(seconds)
        after = self.observe()
        self.pause()
        return Sample(*(late - early for early, late in zip(before, after, strict=True)))

    def pause(self) -> None:
        """Stops it where it is."""
        self._process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        """Ends it by SIGTERM, and this program too if its status is not that of a stopped run."""
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(600)
        if status != 128 + signal.SIGTERM:
            sys.exit(f"the run ended with status {status}:\n{self._log.read_text()[-2000:]}")


def compare_with_fresh(old: Run, data: Path, workdir: Path) -> None:
    """Prints the speed of an old run over that of one just started, in turns; it is left paused."""
    old.pause()
    fresh = Run(data, workdir)
    while not fresh.ended() and fresh.observe().step < WARM_STEPS:
        time.sleep(1)
    fresh.pause()
    pairs = [(old.turn(TURN_SECONDS), fresh.turn(TURN_SECONDS)) for _ in range(TURNS)]
    for text, unit in (("second", "seconds"), ("second of processor time", "cpu_seconds")):
        ratios = [
            (mine.step / getattr(mine, unit)) / (other.step / getattr(other, unit))
            for mine, other in pairs
        ]
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        print(
            f"steps per {text}, the old run's over a fresh one's: {middle:.3f} ({low:.3f} to {high:.3f})"
        )
    sample = fresh.observe()
    print(f"the fresh run after {sample.step} steps: {sample.own_mib:.0f} MiB of its own")
    fresh.end()


def main() -> None:
    """Trains, watches, compares, stops and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--workdir", help="kept; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "digits"
        write_images(data)
        run = Run(data, Path(options.workdir or Path(folder) / "run"))
        samples: list[Sample] = []
        while not run.ended() and (not samples or samples[-1].seconds < options.minutes * 60):
            samples.append(run.observe())
            time.sleep(SAMPLE_SECONDS)
        if len(samples) > PARTS:
            report(samples, batch_size=64)
        if not run.ended():
            compare_with_fresh(run, data, Path(folder) / "fresh")
        run.end()


if __name__ == "__main__":
    main()
