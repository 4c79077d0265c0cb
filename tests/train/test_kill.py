"""SIGKILL at an arbitrary step of the real command, and the same command again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alexnet_jax.train import checkpoint
from tests.train.runs import assert_same_bits, saved_arrays

ROOT = Path(__file__).parents[2]
STEPS = 66


def _command(workdir: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "alexnet_jax.main", "--config", str(ROOT / "configs/digits.py")),
        *("--workdir", str(workdir), "--config.num_epochs=3", "--config.log_every_steps=1"),
        *("--config.checkpoint.every_steps=8",),
    ]


def _environment() -> dict[str, str]:
    return {**os.environ, "JAX_NUM_CPU_DEVICES": "1", "JAX_PLATFORMS": "cpu"}


def _run(workdir: Path) -> str:
    run = subprocess.run(
        _command(workdir), capture_output=True, text=True, check=True, env=_environment()
    )
    return run.stdout


def _kill_at(workdir: Path, step: int) -> None:
    """Starts the run and kills it once it has logged ``step``, whatever it is doing then."""
    process = subprocess.Popen(
        _command(workdir), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment()
    )
    metrics = workdir / "metrics.jsonl"
    deadline = time.monotonic() + 600
    try:
        while not metrics.exists() or f'"step": {step},' not in metrics.read_text():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        status = process.wait()
    assert status == -signal.SIGKILL


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("uninterrupted")
    _run(workdir)
    return workdir


@pytest.mark.parametrize("steps", [(3,), (17, 40)])
def test_a_killed_run_ends_with_the_same_bits(tmp_path, uninterrupted, steps):
    for step in steps:
        _kill_at(tmp_path, step)
        found = checkpoint.latest_step(tmp_path)
        assert found is None or found < STEPS
    assert _run(tmp_path).splitlines()[-1].startswith(f"eval step={STEPS} ")
    assert_same_bits(saved_arrays(uninterrupted, STEPS), saved_arrays(tmp_path, STEPS))
