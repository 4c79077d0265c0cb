"""What surrounds the gradient: accumulation, the moving average, loss scaling, and plateaus in the state."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from alexnet_jax.config import validate
from alexnet_jax.train import checkpoint, experiment, loop, loss_scale, parts
from alexnet_jax.train.augment import Augmentation, Transform
from alexnet_jax.train.health import NONFINITE, NonFiniteError
from alexnet_jax.train.loss_scale import LossScaling
from alexnet_jax.train.mixing import Mixing
from alexnet_jax.train.writers import read_metrics
from tests.references import numbers, small_runs
from tests.train.runs import saved_arrays


def batch(count=8):
    return small_runs.batch_of(small_runs.pixels(count), numbers.labels(count, 10))


def assert_trees_close(ours, theirs, tolerance):
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        one, other = np.asarray(one), np.asarray(other)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


def test_accumulated_parts_are_the_whole_batch():
    """With everything that is random by row: the parts draw what the whole batch draws. Padding counts once."""
    noisy = Transform(32, small_runs.PLAIN.normalization, Augmentation(2, None, 0.5, 0.2))
    objective = {"transform": noisy, "mixing": Mixing(0.4, 0.0), "label_smoothing": 0.1}
    padded = batch() | {"mask": np.arange(8) < 7}
    results = []
    for count in (1, 2, 4):
        step, state, _ = small_runs.step_and_state(
            objective=objective, step={"accumulate_steps": count}
        )
        new, sums = step(state, padded)
        results.append((new.optimizer_state, sums))  # the momentum is the gradient
    for momentum, sums in results[1:]:
        assert_trees_close(momentum, results[0][0], 1e-5)
        assert sums["count"] == 7
        assert sums["top1"] == results[0][1]["top1"]
        np.testing.assert_allclose(sums["loss"], results[0][1]["loss"], rtol=1e-6)


def test_accumulation_on_four_devices_is_one_device():
    small = small_runs.config(batch_size=16, optimizer__accumulate_steps=2, num_epochs=1)
    losses = []
    for devices in (1, 4):
        run = small_runs.build(small, devices)
        state = run.initial_state
        for data in run.train_batches(0):
            state, sums = run.train_step(state, run.strategy.place_batch(data))
        losses.append(float(sums["loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_batch_and_parts_must_fit():
    small = small_runs.config(batch_size=20, optimizer__accumulate_steps=4)
    (fault,) = experiment.device_faults(small, 2)
    assert fault.text == (
        "batch_size=20 cannot be split over 2 devices and optimizer.accumulate_steps=4; use 16 or 24."
    )


def test_moving_average_and_its_evaluation(tmp_path):
    step, state, _ = small_runs.step_and_state(state={"ema": True}, step={"ema_decay": 0.75})
    average = state.params
    for _ in range(3):
        state, _ = step(state, batch())
        average = jax.tree.map(lambda a, p: 0.75 * a + 0.25 * p, average, state.params)
    assert_trees_close(state.ema_params, average, 1e-6)

    small = small_runs.config(optimizer__ema_decay=0.5, optimizer__learning_rate=0.05)
    of_params = small_runs.train(small, tmp_path / "params")
    small.eval.use_ema = True
    of_average = small_runs.train(small, tmp_path / "average")
    assert of_params.loss != of_average.loss
    run = small_runs.build(small)
    restored = checkpoint.restore(tmp_path / "average", run.identity, run.initial_state)
    swapped = jax.tree.map(jnp.copy, restored.ema_params)
    small.eval.use_ema = False
    plain = small_runs.build(small)
    sums = [
        plain.eval_step(
            jax.tree.map(jnp.copy, restored).__class__(
                restored.step, swapped, restored.model_state, restored.optimizer_state, swapped
            ),
            data,
        )["loss"]
        for data in plain.eval_batches()
    ]
    assert float(sum(sums)) / of_average.num_examples == pytest.approx(of_average.loss, rel=1e-6)


def test_evaluating_an_average_needs_one():
    (fault,) = validate(small_runs.config(eval__use_ema=True))
    assert fault.text == (
        "eval.use_ema=True needs an average; use e.g. optimizer.ema_decay=0.9999."
    )


def scaled_step(dtype, scaling):
    return small_runs.step_and_state(
        dtype=dtype, state={"loss_scaling": scaling}, step={"loss_scaling": scaling}
    )


def test_a_scale_changes_nothing_in_float32():
    plain, state, _ = small_runs.step_and_state()
    scaled, scaled_state, _ = scaled_step(jnp.float32, LossScaling(1024.0, dynamic=False))
    for _ in range(2):
        state, sums = plain(state, batch())
        scaled_state, scaled_sums = scaled(scaled_state, batch())
    assert_trees_close(scaled_state.params, state.params, 1e-6)
    np.testing.assert_allclose(scaled_sums["loss"], sums["loss"], rtol=1e-6)
    assert int(scaled_sums["skipped_steps"]) == 0


@pytest.mark.parametrize("dynamic", [False, True])
def test_an_overflowed_step_changes_nothing_and_is_counted(dynamic):
    step, state, _ = scaled_step(jnp.float16, LossScaling(2.0**40, dynamic=dynamic))
    new, sums = step(state, batch())
    jax.tree.map(np.testing.assert_array_equal, new.params, state.params)
    moments = [
        leaf
        for leaf in jax.tree.leaves(new.optimizer_state)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    assert moments
    assert not any(leaf.any() for leaf in moments)
    assert int(new.step) == 1
    assert int(sums["skipped_steps"]) == 1
    assert int(sums[NONFINITE]) == 0
    assert np.isfinite(sums["loss"])  # the loss itself is float32 and not scaled
    assert float(sums["loss_scale"]) == 2.0**40
    assert float(new.loss_scale["scale"]) == (2.0**39 if dynamic else 2.0**40)


def test_an_overflow_is_a_fault_once_no_smaller_scale_follows(monkeypatch):
    monkeypatch.setattr(loss_scale, "LEAST", 2.0**39)
    step, state, _ = scaled_step(jnp.float16, LossScaling(2.0**40, dynamic=True))
    faults = []
    for _ in range(2):
        state, sums = step(state, batch())
        faults.append(int(sums[NONFINITE]) > 0)
    assert faults == [False, True]


def test_an_overflow_of_a_static_scale_is_a_fault_if_the_step_before_was_skipped_too():
    scaling = LossScaling(2.0**40, dynamic=False)
    step, state, _ = scaled_step(jnp.float16, scaling)
    state, first = step(state, batch())
    _, second = step(state, batch())
    assert (int(first[NONFINITE]), int(second[NONFINITE]) > 0) == (0, True)
    good = scaling.update(state.loss_scale, jnp.array(True))
    _, after_a_good_one = step(dataclasses.replace(state, loss_scale=good), batch())
    assert int(after_a_good_one["skipped_steps"]) == 2
    assert int(after_a_good_one[NONFINITE]) == 0


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_loss_that_is_not_finite_is_a_fault_at_any_scale(dynamic):
    scaling = LossScaling(1024.0, dynamic=dynamic)
    step, state, _ = scaled_step(jnp.float16, scaling)
    state.params["fc6"]["kernel"] *= jnp.inf
    _, sums = step(state, batch())
    assert not np.isfinite(sums["loss"])
    assert int(sums[NONFINITE]) > 0


def test_a_dynamic_scale_finds_its_way_down_and_training_goes_on():
    step, state, _ = scaled_step(jnp.float16, LossScaling(2.0**26, dynamic=True))
    first = None
    for _ in range(16):
        state, sums = step(state, batch())
        first = float(sums["loss"]) if first is None else first
    assert 0 < int(sums["skipped_steps"]) < 16
    assert float(sums["loss"]) < first
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_a_dynamic_scale_doubles_after_good_steps_and_stops_at_one(monkeypatch):
    monkeypatch.setattr(loss_scale, "GROWTH_INTERVAL", 3)
    scaling = LossScaling(8.0, dynamic=True)
    state, seen = scaling.initial_state(), []
    for finite in (True, True, False, True, True, True, True, *[False] * 5):
        state = scaling.update(state, jnp.array(finite))
        seen.append(float(state["scale"]))
    assert seen == [8, 8, 4, 4, 4, 8, 8, 4, 2, 1, 1, 1]
    assert int(state["skipped_steps"]) == 6


def test_float32_statistics_logits_and_loss_in_float16():
    step, state, goal = small_runs.step_and_state("deepspark", num_classes=7, dtype=jnp.float16)
    new, sums = step(state, batch())
    assert {leaf.dtype for leaf in jax.tree.leaves((new.params, new.model_state))} == {
        jnp.dtype("float32")
    }
    assert sums["loss"].dtype == jnp.float32
    logits, _ = goal.model.apply(state.params, state.model_state, jnp.zeros((1, 32, 32, 3)))
    assert logits.dtype == jnp.float32


@pytest.mark.parametrize(
    ("precision", "mode", "expected"),
    [
        ("float16", "auto", LossScaling(65536.0, dynamic=True)),
        ("bfloat16", "auto", None),
        ("float16", "none", None),
        ("bfloat16", "static", LossScaling(65536.0, dynamic=False)),
    ],
)
def test_which_precision_is_scaled(precision, mode, expected):
    small = small_runs.config(optimizer__loss_scale=mode)
    assert parts.loss_scaling(small, precision) == expected


def test_skipped_steps_are_recorded(tmp_path):
    small = small_runs.config(model__precision="float16", optimizer__loss_scale_value=2.0**26)
    small_runs.train(small, tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    train = [record for record in records if record["split"] == "train"]
    assert all(record["skipped_steps"] > 0 for record in train)
    assert train[-1]["loss_scale"] < 2.0**26


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"optimizer__learning_rate": 1e6}, r"the loss is (nan|inf)"),
        (
            {"optimizer__loss_scale": "static", "optimizer__loss_scale_value": 2.0**40},
            r"the loss is still 2\.",
        ),
    ],
)
def test_a_float16_run_that_can_train_no_more_stops(tmp_path, changes, text):
    small = small_runs.config(model__precision="float16", **changes)
    with pytest.raises(
        NonFiniteError, match=rf"^step 2: the gradient of \S+ is not finite; {text}"
    ):
        small_runs.train(small, tmp_path)
    (record,) = read_metrics(tmp_path)
    assert (record["event"], record["nonfinite_step"]) == ("nonfinite", 2)


@pytest.mark.parametrize(
    ("before", "after", "told", "scale"),
    [
        (
            "float16",
            "float32",
            "has a loss scale, as float16 does, and this run has none",
            {},
        ),
        (
            "float32",
            "float16",
            "has no loss scale, and this run has one",
            {"scale": 256},
        ),
    ],
)
def test_another_precision_evaluates_and_continues(tmp_path, caplog, before, after, told, scale):
    """As "auto" chooses it on another kind of device."""
    settings = {"optimizer__loss_scale_value": 256.0, "log_every_steps": 1}
    small_runs.train(small_runs.config(model__precision=before, num_epochs=1, **settings), tmp_path)
    assert "loss scale" not in caplog.text
    run = small_runs.build(small_runs.config(model__precision=after, **settings))
    restored = checkpoint.restore(tmp_path, run.identity, run.initial_state)
    assert told in caplog.text
    assert "it begins at 256" in caplog.text or not scale
    assert {name: restored.loss_scale[name] for name in scale} == scale
    assert bool(restored.loss_scale) == bool(scale)
    saved = saved_arrays(tmp_path, 8)
    for path, leaf in jax.tree_util.tree_leaves_with_path(restored.params):
        np.testing.assert_array_equal(leaf, saved[f"['params']{jax.tree_util.keystr(path)}"])
    assert loop.evaluate_only(run, tmp_path).num_examples == 16
    loop.train(run, tmp_path)
    steps = [r for r in read_metrics(tmp_path) if r["split"] == "train"]
    assert [record["step"] for record in steps] == [*range(1, 17)]
    assert ("loss_scale" in steps[-1]) == bool(scale)


def plateau_config(**changes):
    """Patience 0 and a threshold no run reaches: the rate falls after every evaluation but the first."""
    settings = {
        "num_epochs": 4,
        "schedule__name": "plateau",
        "schedule__plateau_patience": 0,
        "schedule__plateau_threshold": 0.999,
        "schedule__plateau_factor": 0.5,
    }
    return small_runs.config(**(settings | changes))


def rates(workdir):
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {r["epoch"]: r["learning_rate"] for r in records if r["split"] == "train"}


def test_plateau_follows_the_evaluations_and_survives_a_restart(tmp_path):
    whole = plateau_config()
    small_runs.train(whole, tmp_path / "whole", device_count=2)
    seen = rates(tmp_path / "whole")
    expected = {1.0: 0.01, 2.0: 0.01, 3.0: 0.005, 4.0: 0.0025}
    assert {epoch: seen[epoch] for epoch in expected} == pytest.approx(expected)

    small_runs.train(plateau_config(num_epochs=3), tmp_path / "parts", device_count=2)
    small_runs.train(whole, tmp_path / "parts", device_count=2)
    assert rates(tmp_path / "parts") == seen
    run = small_runs.build(whole)
    first, second = (
        checkpoint.restore(tmp_path / name, run.identity, run.initial_state)
        for name in ("whole", "parts")
    )
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_plateau_scale_multiplies_the_update():
    rule = parts.plateau(plateau_config())
    step, state, _ = small_runs.step_and_state(learning_rate=100.0, state={"plateau": rule})
    full, _ = step(state, batch())
    state.plateau["scale"] = jnp.float32(0.25)
    quarter, sums = step(state, batch())
    moved, less = (
        jax.tree.map(lambda n, o: n - o, new.params, state.params) for new in (full, quarter)
    )
    assert_trees_close(less, jax.tree.map(lambda x: 0.25 * x, moved), 1e-4)
    assert float(sums["learning_rate"]) == pytest.approx(25.0)


def test_plateau_needs_evaluations():
    (fault,) = validate(plateau_config(eval_every_epochs=0))
    assert fault.text == (
        "schedule.name='plateau' follows the evaluations; use eval_every_epochs=1 or more."
    )


@pytest.mark.parametrize("top1", [0.9889, 0.0, 1.0])
def test_interval_is_wilsons(top1):
    """The ends are where the normal test of that fraction gives exactly its 95 % quantile."""
    from alexnet_jax.train.metrics import Averages

    record = Averages(0.1, top1, 1.0, 360).record()
    assert 0 <= record["top1_low"] <= top1 <= record["top1_high"] <= 1
    for end in (record["top1_low"], record["top1_high"]):
        if 0 < end < 1:
            z = abs(top1 - end) / np.sqrt(end * (1 - end) / 360)
            assert z == pytest.approx(1.959963984540054)


def test_interval_is_recorded(tmp_path):
    final = small_runs.train(small_runs.config(num_epochs=1), tmp_path)
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    card = json.loads((tmp_path / "run.json").read_text())["final"]
    assert last["split"] == "eval"
    for record in (last, card):
        assert record["top1_low"] <= final.top1 <= record["top1_high"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"augment__crop": "random", "augment__crop_resize_pixels": 31},
            "augment.crop_resize_pixels=31 is less than the 32 pixels of the network's input; use at least 32.",
        ),
        (
            {"schedule__step_fractions": (0.5, 1.0)},
            "schedule.step_fractions=(0.5, 1.0) is not possible; use fractions of the run.",
        ),
        (
            {"optimizer__accumulate_steps": 0},
            "optimizer.accumulate_steps=0 is not possible; use at least 1.",
        ),
        (
            {"optimizer__ema_decay": 1.0},
            "optimizer.ema_decay=1.0 is not possible; use a number in [0, 1).",
        ),
        (
            {"optimizer__loss_scale": "big"},
            "optimizer.loss_scale='big' is unknown; use one of: auto, none, static, dynamic.",
        ),
        (
            {"schedule__plateau_metric": "top5"},
            "schedule.plateau_metric='top5' is unknown; use one of: loss, top1.",
        ),
    ],
)
def test_impossible_settings_are_named(changes, text):
    assert [fault.text for fault in validate(small_runs.config(**changes))] == [text]
