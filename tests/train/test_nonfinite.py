"""Which gradient is not finite, as the training step finds it; updates that are not."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from alexnet_jax.train import checkpoint, loop
from alexnet_jax.train.health import NonFiniteError, check_state, nonfinite_place
from alexnet_jax.train.writers import read_metrics
from tests.train.runs import build, small_config

LARGEST = np.finfo(np.float32).max
SHAPES = {"conv": (3, 3, 64, 32), "bias": (4096,), "dense": (4096, 16)}  # leaves in order of names


def _gradients(**faults):
    gradients = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    for name, (index, value) in faults.items():
        gradients[name].flat[index] = value
    return jax.tree.map(jnp.array, gradients)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "place"), [("bias", 1), ("conv", 2), ("dense", 3)])
def test_one_number_is_found_wherever_it_is(name, place, value):
    for index in (0, 4095, -1):
        assert jax.jit(nonfinite_place)(_gradients(**{name: (index, value)})) == place


def test_the_last_leaf_is_where_it_began():
    gradients = _gradients(bias=(0, np.nan), conv=(5, np.inf))
    assert jax.jit(nonfinite_place)(gradients) == 2


@pytest.mark.parametrize("value", [0.0, LARGEST, -LARGEST, np.finfo(np.float32).smallest_subnormal])
def test_finite_numbers_are_no_fault(value):
    gradients = {name: jnp.full(shape, value, jnp.float32) for name, shape in SHAPES.items()}
    assert jax.jit(nonfinite_place)(gradients) == 0


def _diverging(**changes):
    """Returns the settings of a run whose first update is finite, and beyond all use."""
    return small_config(
        **{
            "schedule.name": "constant",
            "schedule.warmup_epochs": 0.0,
            "optimizer.learning_rate": 1e30,
            "num_epochs": 1,
            **changes,
        }
    )


def test_an_evaluation_that_is_not_finite_ends_the_run_before_it_is_saved(tmp_path):
    run = build(_diverging(batch_size=96))  # one step, whose gradients are finite
    with pytest.raises(NonFiniteError, match="step 1: the loss of the evaluation after it is"):
        loop.train(run, tmp_path)
    assert checkpoint.latest_step(tmp_path) is None
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    (evaluation,) = (record for record in records if record["split"] == "eval")
    assert evaluation["loss"] is None
    assert math.isnan(read_metrics(tmp_path)[lines.index(json.dumps(evaluation))]["loss"])


@pytest.mark.parametrize("part", ["params", "optimizer_state"])
def test_a_state_that_is_not_finite_is_named(part):
    state = build(small_config()).initial_state
    check_state(3, state)
    leaf, *others = jax.tree.leaves(getattr(state, part))
    spoiled = jax.tree.unflatten(
        jax.tree.structure(getattr(state, part)), [leaf.at[..., -1].set(jnp.inf), *others]
    )
    name = {"params": "conv1/bias", "optimizer_state": r"optimizer state/\S+/conv1/bias"}
    message = f"step 3: its update left numbers in {name[part]} that are not finite"
    with pytest.raises(NonFiniteError, match=message):
        check_state(3, dataclasses.replace(state, **{part: spoiled}))


def test_rollback_goes_past_a_checkpoint_that_leads_to_the_fault(tmp_path):
    """Each step is saved and none evaluated: the second, finite and beyond all use, too."""
    settings = {"checkpoint.every_steps": 1, "eval_every_epochs": 0}
    usual = {**settings, "optimizer.learning_rate": 1e-3}
    loop.train(build(_diverging(**usual, batch_size=48)), tmp_path)
    assert checkpoint.latest_step(tmp_path) == 2
    rollback = {"health.on_nonfinite": "rollback", "health.rollback_factor": 1e-32}
    faster = {**settings, **rollback, "num_epochs": 2, "batch_size": 48}
    loop.train(build(_diverging(**faster)), tmp_path)
    assert (tmp_path / "checkpoints" / "3.diverged").is_dir()
    (event,) = (record for record in read_metrics(tmp_path) if record["split"] == "event")
    assert (event["event"], event["step"], event["nonfinite_step"]) == ("rollback", 2, 4)
    assert checkpoint.latest_step(tmp_path) == 4
