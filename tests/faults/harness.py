"""Real runs to inject faults into, and how many: `bash scripts/faults.sh` runs the full counts, the test suite few."""

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
FULL = os.environ.get("ALEXNET_JAX_FAULTS") == "full"
SEED = int(os.environ.get("ALEXNET_JAX_FAULTS_SEED", "0"))
STEPS = 48  # of the run below
# One for all runs of a test session: only the first compiles.
CACHE = Path(tempfile.gettempdir()) / f"alexnet-jax-faults-{os.getpid()}"
_started: list[subprocess.Popen[str]] = []  # by the test that runs


def count(few: int, full: int) -> int:
    """Returns how often to inject: ``few`` in the test suite, ``full`` for the record in docs/reliability.md."""
    return full if FULL else few


def command(workdir: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "alexnet_jax.main", f"--config={ROOT}/tests/faults/tiny.py"),
        *(f"--workdir={workdir}", f"--config.compilation_cache={CACHE}", *more),
    ]


def environment() -> dict[str, str]:
    variables = {"JAX_NUM_CPU_DEVICES": "1", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **variables, "PYTHONUNBUFFERED": "1"}


def start(workdir: Path, *more: str, file_bytes: int | None = None) -> subprocess.Popen[str]:
    """Starts a run; ``file_bytes`` is the size at which writing a file fails, as where a quota is used up."""
    limit = () if file_bytes is None else ("prlimit", f"--fsize={file_bytes}")
    process = subprocess.Popen(
        [*limit, *command(workdir, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    _started.append(process)
    return process


def job_settings(count: int) -> list[list[str]]:
    """Returns what each process of a job on this machine is told besides."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    return [
        [
            f"--config.distributed.coordinator={address}",
            f"--config.distributed.num_processes={count}",
            f"--config.distributed.process_id={number}",
        ]
        for number in range(count)
    ]


def end_all() -> None:
    """Kills what a failed test left running."""
    for process in _started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    _started.clear()


def run(workdir: Path, *more: str, status: int = 0) -> str:
    """Runs to the end and returns everything printed."""
    process = start(workdir, *more)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == status, output
    return output


def wait_until(condition: Callable[[], bool], *processes: subprocess.Popen[str]) -> None:
    """Waits for a condition, as long as the processes live."""
    deadline = time.monotonic() + 200
    while not condition():
        for process in processes:
            assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.003)


def last_step(workdir: Path) -> int:
    """Returns the last step that a run has recorded, 0 for none; the device may be one ahead."""
    metrics = workdir / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    return json.loads(whole[-1])["step"] if whole else 0


def has_reached(workdir: Path, step: int) -> Callable[[], bool]:
    """Returns whether a run has recorded a step at or past ``step``."""
    return lambda: last_step(workdir) >= step


def draw(name: str) -> random.Random:
    return random.Random(f"{SEED} {name}")


def assert_no_traceback(output: str) -> None:
    assert "Traceback" not in output, output
