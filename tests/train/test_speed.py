"""The loop's own account of its time agrees with the benchmark, and importing costs next to nothing."""

import json
import statistics
import subprocess
import sys

import pytest

from alexnet_jax.train import loop, speed
from alexnet_jax.train.writers import read_metrics
from tests.train.runs import build, small_config


def test_the_loop_and_the_benchmark_agree(tmp_path):
    """The same steps on the same machine, which others use too: rates within a factor."""
    config = small_config(log_every_steps=6)
    run = build(config)
    batch = run.place_batch("train", next(batches := run.train_batches(0)))
    batches.close()
    training = speed.Training(run, batch)
    measured = training.images_per_second(2.0)
    loop.train(build(config), tmp_path)
    card = json.loads((tmp_path / "run.json").read_text())
    seconds = card["time_seconds"]
    assert (
        1 / 3 < card["images_per_second"] / measured < 3
    )  # compilation alone is ten times the steps
    windows = [r["images_per_second"] for r in read_metrics(tmp_path) if r["split"] == "train"]
    assert 1 / 3 < statistics.median(windows) / measured < 3
    trained = card["steps"] * config.batch_size / (seconds["step"] + seconds["input_wait"])
    assert card["images_per_second"] == pytest.approx(trained, rel=0.05)
    assert seconds["compile"] > seconds["step"] / card["steps"]
    assert card["expected_memory_bytes"] == run_memory(training)


def run_memory(training: speed.Training) -> int:
    """Returns the bytes of the compiled step's arguments, results that are not aliased, and what it needs besides."""
    sizes = training.compiled.memory_analysis()
    results = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    held = sizes.argument_size_in_bytes + results + sizes.temp_size_in_bytes
    return held + sizes.generated_code_size_in_bytes


def test_import_costs_next_to_nothing():
    """Beyond jax and flax.nnx, which importing the library's users have anyway; measured: benchmarks.md."""
    program = (
        "import time, jax, flax.nnx\n"
        "start = time.perf_counter()\n"
        "import alexnet_jax\n"
        "from alexnet_jax import create\n"
        "print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", program]
    times = [float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in "ab"]
    assert min(times) < 0.5  # ten times the goal: this machine may be busy
