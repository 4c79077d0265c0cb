"""Learning rates against PyTorch's schedulers, written-out formulas, and values PyTorch gave once."""

import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from alexnet_jax.train.plateau import Plateau
from alexnet_jax.train.schedules import SCHEDULES, ScheduleSettings
from tests.references import numbers

GOLDEN = json.loads((Path(__file__).parents[1] / "references" / "golden.json").read_text())


def rates(name, steps, **changes):
    """Returns the learning rates of ``steps``, from a base of .5, 7 steps an epoch, 12 epochs."""
    settings = {
        "learning_rate": 0.5,
        "steps_per_epoch": 7,
        "num_epochs": 12,
        "warmup_epochs": 0.0,
        "step_epochs": 5.0,
        "step_factor": 0.1,
    }
    schedule = SCHEDULES[name](ScheduleSettings(**(settings | changes)))
    return np.array([float(schedule(step)) for step in steps])


def test_step_is_pytorchs_step_lr():
    theirs = np.repeat(GOLDEN["step_lr"], 7)
    np.testing.assert_allclose(rates("step", range(84)), theirs, rtol=1e-6)


def test_cosine_per_epoch_is_pytorchs_cosine_annealing_lr():
    theirs = np.repeat(GOLDEN["cosine_annealing_lr"], 7)
    ours = rates("cosine", range(84), cosine_per_epoch=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


def test_golden_rates_are_pytorchs_still():
    pytest.importorskip("torch")
    from tests.references import make_golden

    assert make_golden.scheduled("StepLR", step_size=5, gamma=0.1) == GOLDEN["step_lr"]
    assert make_golden.scheduled("CosineAnnealingLR", T_max=12) == GOLDEN["cosine_annealing_lr"]


def test_cosine_per_step():
    expected = [0.5 * (1 + math.cos(math.pi * step / 84)) / 2 for step in range(84)]
    np.testing.assert_allclose(rates("cosine", range(84)), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("epochs", [0.05, 0.2, 0.5, 1.9])
def test_a_warm_up_that_ends_within_a_step_stays_below_the_peak(name, epochs):
    ours = rates(name, range(20), warmup_epochs=epochs)
    assert ours.max() <= np.float32(0.5)
    rising = np.arange(1, 1 + int(7 * epochs)) / (7 * epochs)
    np.testing.assert_allclose(ours[: len(rising)], 0.5 * rising, rtol=1e-6)


def test_cosine_after_the_warm_up():
    """The rise ends on the peak, and half a cosine lies between it and the end."""
    ours = rates("cosine", [0, 13, 14, 49, 83], warmup_epochs=2.0)
    last = 0.5 * (1 + math.cos(math.pi * 69 / 70)) / 2
    np.testing.assert_allclose(ours, [0.5 / 14, 0.5, 0.5, 0.25, last], rtol=1e-6)


@pytest.mark.parametrize("per_epoch", [False, True])
def test_cosine_from_the_start_jumps_after_the_warm_up(per_epoch):
    options = {"cosine_from_start": True, "cosine_per_epoch": per_epoch}
    ours = rates("cosine", range(84), warmup_epochs=2.0, **options)
    for step in range(84):
        place = step // 7 if per_epoch else step / 7
        expected = 0.5 * (1 + math.cos(math.pi * place / 12)) / 2
        if step < 14:
            expected = 0.5 * (step + 1) / 14
        assert ours[step] == pytest.approx(expected, rel=1e-6)


def test_cosine_per_epoch_after_the_warm_up():
    ours = rates("cosine", [14, 20, 21], warmup_epochs=2.0, cosine_per_epoch=True)
    next_epoch = 0.5 * (1 + math.cos(math.pi / 10)) / 2
    np.testing.assert_allclose(ours, [0.5, 0.5, next_epoch], rtol=1e-6)


def test_step_at_fractions_of_the_run():
    ours = rates("step", [0, 66, 67, 83], step_fractions=(0.8,))
    np.testing.assert_allclose(ours, [0.5, 0.5, 0.05, 0.05], rtol=1e-6)
    twice = rates("step", [41, 42, 63], step_fractions=(0.5, 0.75))
    np.testing.assert_allclose(twice, [0.5, 0.05, 0.005], rtol=1e-6)


def test_a_drop_that_never_comes():
    for epochs in (1e9, 1e308):
        np.testing.assert_allclose(rates("step", [0, 83], step_epochs=epochs), 0.5)


@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_constant_after_the_warm_up(name):
    ours = rates(name, [0, 6, 7, 83], warmup_epochs=1.0)
    np.testing.assert_allclose(ours, [0.5 / 7, 0.5, 0.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize("steps_per_epoch", [10_009, 1_251, 625, 5_004])
def test_every_epoch_begins_at_its_step_in_a_jitted_step(steps_per_epoch):
    """ImageNet's numbers of steps: an epoch too early or late would show as a rate of the epoch beside it."""
    settings = ScheduleSettings(1.0, steps_per_epoch, 90, 0.0, 1.0, 0.5, cosine_per_epoch=True)
    epochs = np.arange(1, 90)
    at = jnp.array(epochs * steps_per_epoch, jnp.int32)
    for name in ("step", "cosine"):
        schedule = jax.jit(jax.vmap(SCHEDULES[name](settings)))
        np.testing.assert_array_equal(schedule(at), schedule(at + steps_per_epoch - 1))
        assert (schedule(at - 1) > schedule(at)).all()


def plateau(**changes):
    settings = {
        "learning_rate": 0.5,
        "metric": "loss",
        "factor": 0.3,
        "patience": 2,
        "threshold": 1e-2,
        "min_learning_rate": 0.01,
    }
    return Plateau(**(settings | changes))


def evaluations(metric):
    """Returns forty values that improve, stall, worsen, and are not a number once."""
    trend = np.where(np.arange(40) < 15, np.linspace(2, 1, 40), 1.5)
    values = trend + 0.05 * numbers.uniform(f"plateau {metric}", (40,))
    values[7] = math.nan
    return values if metric == "loss" else 1 / values


@pytest.mark.parametrize("metric", ["loss", "top1"])
def test_plateau_is_pytorchs(metric):
    rule, ours = plateau(metric=metric), []
    state = rule.initial()
    for value in evaluations(metric):
        state = rule.update(state, float(value))
        ours.append(0.5 * float(state["scale"]))
    assert len(set(ours)) >= 4  # lowered several times, to the least
    np.testing.assert_allclose(ours, GOLDEN["reduce_lr_on_plateau"][metric], rtol=1e-6)


@pytest.mark.parametrize("metric", ["loss", "top1"])
def test_golden_plateau_is_pytorchs_still(metric):
    pytest.importorskip("torch")
    from tests.references import make_golden

    assert make_golden.plateau(metric) == GOLDEN["reduce_lr_on_plateau"][metric]
