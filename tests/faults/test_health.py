"""Numbers that are not finite, a loss that does not move, a run that stands still."""

import dataclasses
import subprocess
import time
from pathlib import Path

import jax
import pytest
from jax import numpy as jnp

from alexnet_jax.train import checkpoint, health, loop
from alexnet_jax.train.stall import StallWatch
from alexnet_jax.train.writers import read_metrics
from tests.faults import harness
from tests.train.runs import assert_same_bits, build, saved_arrays, small_config

STEP = 18


def _poisoned(workdir: Path, how: str, *more: str) -> subprocess.CompletedProcess:
    command = harness.command(workdir, *more)
    command[2:3] = ["tests.faults.poisoned", str(STEP), how]
    run = subprocess.run(
        command, capture_output=True, text=True, env=harness.environment(), check=False
    )
    harness.assert_no_traceback(run.stderr)
    return run


def _events(workdir: Path) -> list[dict]:
    return [record for record in read_metrics(workdir) if record["split"] == "event"]


def test_a_nan_stops_naming_step_and_tensor_and_is_never_saved(tmp_path, uninterrupted):
    run = _poisoned(tmp_path, "always")
    assert run.returncode == 1
    assert f"step {STEP}: the gradient of conv3/kernel is not finite" in run.stderr
    (event,) = _events(tmp_path)
    assert (event["event"], event["nonfinite_step"]) == ("nonfinite", STEP)
    assert event["tensor"] == "conv3/kernel"
    assert checkpoint.latest_step(tmp_path) == 16
    harness.run(tmp_path)  # without the fault, from the checkpoint before it
    expected = saved_arrays(uninterrupted, harness.STEPS)
    assert_same_bits(expected, saved_arrays(tmp_path, harness.STEPS))


def test_rollback_continues_slower_and_finishes(tmp_path):
    run = _poisoned(tmp_path, "once", "--config.health.on_nonfinite=rollback")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1].startswith(f"eval step={harness.STEPS} ")
    (event,) = _events(tmp_path)
    assert (event["event"], event["step"], event["nonfinite_step"]) == ("rollback", 16, STEP)
    rates = [r["learning_rate"] for r in read_metrics(tmp_path) if r["split"] == "train"]
    steps = [r["step"] for r in read_metrics(tmp_path) if r["split"] == "train"]
    assert steps == list(range(1, harness.STEPS + 1))
    assert rates[16] == pytest.approx(rates[15] / 2, rel=0.05)


def test_too_many_rollbacks_stop(tmp_path):
    settings = ["--config.health.on_nonfinite=rollback", "--config.health.max_rollbacks=1"]
    run = _poisoned(tmp_path, "always", *settings)
    assert run.returncode == 1
    assert f"step {STEP} after 1 rollbacks: the gradient of conv3/kernel" in run.stderr


def test_a_loss_that_stays_at_chance_is_told_with_its_cause(tmp_path, capsys):
    changes = {"data.source": "digits", "batch_size": 32, "num_epochs": 2}
    config = small_config(**changes, **{"optimizer.learning_rate": 0.0})
    loop.train(build(config), tmp_path)
    (event,) = _events(tmp_path)
    assert event["event"] == "stuck_loss"
    printed = capsys.readouterr().out
    assert "ln(10) = 2.3026" in printed
    assert event["step"] >= health.STUCK_STEPS


def test_dead_layers_are_named():
    run = build(small_config())
    params = jax.tree.map(jnp.copy, run.initial_state.params)
    params["conv4"] = {"kernel": params["conv4"]["kernel"] * 0, "bias": params["conv4"]["bias"] - 1}
    dead = health.dead_layers(
        run.activations(dataclasses.replace(run.initial_state, params=params))
    )
    assert "relu4" in dead
    assert "relu3" not in dead
    assert "every unit of relu4 is dead" in health.advice(["relu4"])


def test_a_stuck_loss_waits_for_the_warm_up_and_an_epoch():
    watch = health.StuckLoss(num_classes=10, first_epoch=2.0)
    told = [bool(watch.add(epoch / 2, 2.3)) for epoch in range(12)]
    assert told == [False] * 6 + [True] + [False] * 5
    assert not health.StuckLoss(10, 0.0).add(5.0, 1.0)
    longer = health.StuckLoss(num_classes=10, first_epoch=0.0, epochs=5.0)  # epochs of ten steps
    assert [bool(longer.add(epoch, 2.3)) for epoch in range(8)] == [False] * 5 + [True] + [
        False
    ] * 2


@pytest.mark.parametrize("loss", [17.3, float("nan"), float("inf")])
def test_a_high_loss_is_not_the_one_of_a_network_that_tells_nothing_apart(loss):
    watch = health.StuckLoss(num_classes=10, first_epoch=0.0)
    assert not any(watch.add(epoch, loss) for epoch in range(4))
    assert [bool(watch.add(epoch, 2.31)) for epoch in range(4, 7)] == [False, True, False]


def test_a_stall_says_what_is_waited_for(capfd):
    told = []
    with StallWatch(0.2, told.append) as watch:
        watch.waits_for("the input (a batch after step 7)")
        deadline = time.monotonic() + 10
        while not told:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert (
        told[0] == "no sign of life for 0.2 s: the run waits for the input (a batch after step 7)"
    )
    printed = capfd.readouterr().err
    assert "most recent call first" in printed
    assert "test_a_stall_says" in printed


def test_no_stall_is_told_of_a_run_that_goes_on():
    told = []
    with StallWatch(0.3, told.append) as watch:
        for _ in range(20):
            watch.waits_for("the device")
            time.sleep(0.03)
    assert not told
