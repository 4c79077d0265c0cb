import dataclasses
import logging
import shutil
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax import numpy as jnp

from alexnet_jax.errors import RequestError
from alexnet_jax.train import checkpoint, loop
from alexnet_jax.train.checkpoint_writer import Checkpoints
from alexnet_jax.train.metrics import Averages
from alexnet_jax.train.orbax_errors import quiet_background_errors
from tests.train.runs import build, small_config


def _trained(device_count: int = 1, steps: int = 2, **changes):
    """Returns a run and its state after a few steps, so that momentum and statistics are not zero."""
    run = build(small_config(**changes), device_count)
    state = jax.tree.map(jnp.copy, run.initial_state)
    for _, batch in zip(range(steps), run.train_batches(0), strict=False):
        state, _ = run.train_step(state, run.strategy.place_batch(batch))
    return run, state


def _averages(top1: float) -> Averages:
    return Averages(loss=1.0, top1=top1, top5=1.0, num_examples=10)


def _save(run, workdir: Path, states, *, keep: int = 2, keep_best: bool = True) -> None:
    checkpoints = Checkpoints(workdir, run.identity, keep=keep, keep_best=keep_best)
    for step, state, metrics in states:
        checkpoints.save(step, state, metrics)
    checkpoints.close()


def _steps(workdir: Path) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.is_dir())


@pytest.mark.parametrize(("saved_on", "restored_on"), [(1, 1), (4, 1), (1, 4), (2, 4)])
def test_restores_every_bit_on_any_number_of_devices(tmp_path, saved_on, restored_on):
    run, state = _trained(saved_on)
    _save(run, tmp_path, [(2, state, None)])
    other = build(small_config(), restored_on)
    restored = checkpoint.restore(tmp_path, other.identity, other.initial_state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    assert int(restored.step) == 2
    for leaf in jax.tree.leaves(restored):
        assert leaf.sharding.device_set == set(jax.devices()[:restored_on])


def test_batch_statistics_are_saved(tmp_path):
    changes = {"model.variant": "deepspark", "data.image_size": 32}
    run, state = _trained(steps=1, **changes)
    assert float(jnp.abs(state.model_state["bn1"]["mean"]).max()) > 0
    _save(run, tmp_path, [(1, state, None)])
    restored = checkpoint.restore(tmp_path, run.identity, run.initial_state)
    jax.tree.map(np.testing.assert_array_equal, restored.model_state, state.model_state)


def test_saving_copies_before_the_state_is_donated(tmp_path):
    run, state = _trained()
    expected = jax.device_get(state)
    checkpoints = Checkpoints(tmp_path, run.identity, keep=2, keep_best=False)
    checkpoints.save(2, state, None)
    batch = run.strategy.place_batch(next(run.train_batches(2)))
    for _ in range(3):
        state, _ = run.train_step(state, batch)  # consumes what is being written
    checkpoints.close()
    restored = checkpoint.restore(tmp_path, run.identity, run.initial_state)
    jax.tree.map(np.testing.assert_array_equal, restored, expected)


def test_keeps_the_newest_and_the_best(tmp_path):
    run, state = _trained()
    tops = {1: 0.1, 2: 0.9, 3: 0.5, 4: 0.6, 5: 0.2}
    _save(run, tmp_path, [(step, state, _averages(top1)) for step, top1 in tops.items()])
    assert _steps(tmp_path) == [2, 4, 5]
    assert checkpoint.latest_step(tmp_path) == 5


def test_keeps_only_the_newest_where_the_best_is_not_wanted(tmp_path):
    run, state = _trained()
    saves = [(step, state, _averages(1 / step)) for step in (1, 2, 3)]
    _save(run, tmp_path, saves, keep=1, keep_best=False)
    assert _steps(tmp_path) == [3]


def test_checkpoints_that_were_not_evaluated_do_not_count_as_best(tmp_path):
    run, state = _trained()
    _save(run, tmp_path, [(1, state, _averages(0.5)), (2, state, None), (3, state, None)], keep=1)
    assert _steps(tmp_path) == [1, 3]


def test_the_best_is_kept_by_later_starts(tmp_path, caplog):
    run, state = _trained()
    _save(run, tmp_path, [(step, state, _averages(1 / step)) for step in (1, 2, 3)])
    for step in (4, 5):  # each by a start of its own
        checkpoints = Checkpoints(tmp_path, run.identity, keep=2, keep_best=True)
        assert checkpoints.best_top1() == 1.0
        checkpoints.save(step, state, _averages(0.1) if step == 4 else None)
        checkpoints.close()
    assert _steps(tmp_path) == [1, 4, 5]
    assert "metric" not in caplog.text


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}"])
def test_a_best_whose_metrics_are_damaged_does_not_count(tmp_path, damage):
    run, state = _trained()
    _save(run, tmp_path, [(1, state, _averages(0.9)), (2, state, _averages(0.5))], keep=1)
    (tmp_path / "checkpoints/1/metrics/metrics").write_bytes(damage)
    assert checkpoint.latest_step(tmp_path, set_aside=True) == 2
    assert (tmp_path / "checkpoints/1.damaged").is_dir()
    checkpoints = Checkpoints(tmp_path, run.identity, keep=1, keep_best=True)
    assert checkpoints.best_top1() == 0.5
    checkpoints.save(3, state, _averages(0.1))
    checkpoints.close()
    assert sorted(ocp.utils.checkpoint_steps(tmp_path / "checkpoints")) == [2, 3]


def test_an_unfinished_save_is_no_checkpoint(tmp_path):
    """What SIGKILL leaves in the middle of a save is ignored, and cleared away at the next start."""
    run, state = _trained()
    _save(run, tmp_path, [(1, state, None)])
    leftover = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp-0"
    (leftover / "state").mkdir(parents=True)
    assert checkpoint.latest_step(tmp_path) == 1
    checkpoint.restore(tmp_path, run.identity, run.initial_state)
    _save(run, tmp_path, [(3, state, None)])
    assert not leftover.exists()


def test_no_directory_and_no_checkpoint():
    assert checkpoint.latest_step(Path("/nonexistent/run")) is None


def _snapshot(workdir: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(workdir)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in workdir.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model.variant": "deepspark", "data.image_size": 32},
            r"\(variant 'cifar32' there, 'deepspark' here\); choose .*: add --config\.model\.variant=cifar32\.$",
        ),
        ({"model.num_classes": 7}, "num_classes 10 there, 7 here"),
    ],
)
def test_another_model_is_refused_and_nothing_is_touched(tmp_path, changes, message):
    run, state = _trained()
    _save(run, tmp_path, [(2, state, None)])
    before = _snapshot(tmp_path)
    other = build(small_config(**changes))
    with pytest.raises(RequestError, match=message):
        loop.train(other, tmp_path)
    assert _snapshot(tmp_path) == before


def test_other_shapes_are_listed(tmp_path):
    """A checkpoint whose identity agrees but whose arrays do not, e.g. from a changed table of variants."""
    run, state = _trained()
    params = {**state.params, "conv1": {"kernel": jnp.zeros((3, 3, 3, 64))}}
    odd = dataclasses.replace(state, params=params)
    _save(run, tmp_path, [(2, odd, None)])
    with pytest.raises(
        RequestError, match=r"does not fit(.|\n)*params/conv1/bias is missing there, \(64,\) here"
    ):
        checkpoint.restore(tmp_path, run.identity, run.initial_state)


def test_a_checkpoint_that_its_run_removes_while_it_is_read_is_passed_over(tmp_path, monkeypatch):
    run, state = _trained()
    _save(run, tmp_path, [(step, state, None) for step in (1, 2, 3)], keep=3)
    tried = []

    def read(step: int) -> int:
        tried.append(step)
        if step == 3:
            shutil.rmtree(tmp_path / "checkpoints/3")
            raise KeyError("state")
        return step

    assert checkpoint.read_newest(tmp_path, read) == 2
    assert tried == [3, 2]
    find_damage = checkpoint.checksums.find_damage

    def find_damage_of_what_goes(where: Path) -> str:
        if where.name == "2":
            shutil.rmtree(where)
        return find_damage(where)

    monkeypatch.setattr(checkpoint.checksums, "find_damage", find_damage_of_what_goes)
    assert checkpoint.read_newest(tmp_path, read) == 1
    shutil.rmtree(tmp_path / "checkpoints/1")
    assert checkpoint.read_newest(tmp_path, read) is None


def test_what_cannot_be_read_and_is_there_is_an_error(tmp_path):
    run, state = _trained()
    _save(run, tmp_path, [(1, state, None)])
    with pytest.raises(ZeroDivisionError):
        checkpoint.read_newest(tmp_path, lambda step: step / 0)


def test_a_run_that_continues_holds_its_state_once(tmp_path):
    loop.train(build(small_config(num_epochs=1)), tmp_path)
    run = build(small_config(num_epochs=1))  # nothing is left to do: no step consumes anything
    loop.train(run, tmp_path)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(run.initial_state))


def test_nothing_is_said_of_a_save_that_waited_for_the_one_before(caplog):
    quiet_background_errors()
    log = logging.getLogger("absl")
    with caplog.at_level(logging.WARNING):
        log.warning("Waiting for previous save to complete took %f seconds. If this", 3.0)
        log.warning("something else")
    assert [record.message for record in caplog.records] == ["something else"]
