"""Several steps in one dispatch: the numbers of one step a dispatch, to the bit, and nothing overslept."""

import dataclasses

import jax
import numpy as np
import pytest

from alexnet_jax import config as configuration
from alexnet_jax.train import dispatch, experiment, loop, parts
from alexnet_jax.train.agenda import Agenda
from alexnet_jax.train.writers import read_metrics
from tests.train.runs import assert_same_bits, saved_arrays
from tests.train.test_resident import _source

EXACT = ("step", "split", "loss", "top1", "top5", "learning_rate", "num_examples")


def _config(**changes):
    """Returns 12 steps, with records, evaluations and checkpoints at steps of their own."""
    config = configuration.default_config()
    config.model.variant, config.model.num_classes = "cifar32", 2
    config.model.precision = "float32"
    config.data.source, config.data.resident = "digits", "true"
    config.batch_size, config.num_epochs, config.log_every_steps = 8, 4, 5
    config.checkpoint.every_steps, config.checkpoint.keep_best = 4, False
    config.augment.crop, config.augment.flip_probability = "pad", 0.5
    config.optimizer.weight_decay = 1e-3
    config.update_from_flattened_dict(changes)
    return config


def _build(config, device_count=1):
    sources = {"train": _source(0), "eval": _source(1)}
    return experiment.build(config, sources, jax.devices("cpu")[:device_count])


def _records(workdir):
    return [{k: r[k] for k in EXACT if k in r} for r in read_metrics(workdir)]


def _trained(most, parallelism, device_count):
    """Returns the parameters after eight steps."""
    config = _config(steps_per_dispatch=most, parallelism=parallelism)
    run = _build(config, device_count)
    state = run.initial_state
    for (_, done), batch in zip(run.spans(0), run.train_batches(0), strict=True):
        state, _ = run.train_step(state, run.place_batch("train", batch))
        if done == 8:
            return jax.device_get(state.params)
    raise AssertionError("a dispatch went past the checkpoint at step 8")


@pytest.mark.parametrize("parallelism", ["jit", "pmap", "hybrid"])
def test_the_same_bits_however_many_steps_a_dispatch(parallelism):
    one, three = (_trained(most, parallelism, 2) for most in (1, 3))
    jax.tree.map(np.testing.assert_array_equal, one, three)


def test_a_resumed_run_ends_with_the_same_bits(tmp_path):
    """Stopped in the middle of what the whole run does at once, and continued in other pieces."""
    no_saves = {"checkpoint.every_steps": 0, "checkpoint.every_epochs": 0}
    loop.train(_build(_config(steps_per_dispatch=32, **no_saves)), tmp_path / "whole")
    stop = _build(_config(steps_per_dispatch=1, **no_saves))
    agenda = dataclasses.replace(stop.agenda, total_steps=7)
    loop.train(dataclasses.replace(stop, agenda=agenda), tmp_path / "stopped")
    loop.train(_build(_config(steps_per_dispatch=2, **no_saves)), tmp_path / "stopped")
    assert_same_bits(saved_arrays(tmp_path / "whole", 12), saved_arrays(tmp_path / "stopped", 12))
    whole, stopped = _records(tmp_path / "whole"), _records(tmp_path / "stopped")
    assert [r for r in whole if r["step"] > 10] == [r for r in stopped if r["step"] > 10]


def test_dispatches_end_where_something_falls_due():
    agenda = Agenda(
        20, 8, log_every_steps=7, eval_every_epochs=1, save_every_epochs=0, save_every_steps=10
    )
    assert list(agenda.spans(0, 4)) == [
        *((0, 4), (4, 7), (7, 8), (8, 10), (10, 14)),
        *((14, 16), (16, 20)),
    ]
    assert list(agenda.spans(9, 100)) == [(9, 10), (10, 14), (14, 16), (16, 20)]
    assert list(agenda.spans(20, 4)) == []


def test_from_the_host_each_step_is_a_dispatch():
    run = _build(_config(steps_per_dispatch=0, **{"data.resident": "false"}))
    assert run.steps_per_dispatch == 1


def test_several_steps_by_default_on_an_accelerator_only(monkeypatch):
    config, device = _config(log_every_steps=100), jax.devices("cpu")[0]
    agenda = parts.agenda(config, 1000)

    def most(resident: bool = True) -> int:
        return parts.steps_per_dispatch(config, device, agenda, resident=resident)

    assert most() == 1
    monkeypatch.setattr(parts, "is_cpu", lambda device: False)
    assert most() == dispatch.AUTOMATIC_STEPS
    assert most(resident=False) == 1
    config.steps_per_dispatch = 5
    assert most() == 5


def test_there_is_no_room_for_more_steps_than_a_dispatch_can_have():
    config = _config(log_every_steps=7, steps_per_dispatch=2**31 - 1)
    assert _build(config).steps_per_dispatch == 7
    config.log_every_steps, config.num_epochs = 1000, 1
    run = _build(config)
    assert run.steps_per_dispatch == run.total_steps


def test_impossible_requests_are_explained():
    config = _config(steps_per_dispatch=4, **{"data.resident": "false"})
    sources = {"train": _source(0), "eval": _source(1)}
    assert [fault.text for fault in experiment.data_faults(config, sources)] == [
        "steps_per_dispatch=4 needs the data on the device: data.resident is false, or use 0 or 1."
    ]


def test_sums_are_read_step_by_step():
    sums = {"loss": jax.numpy.array([1.0, 2.0, 0.0]), "count": jax.numpy.array([4, 5, 0])}
    assert dispatch.per_step(sums, 2) == [{"loss": 1, "count": 4}, {"loss": 2, "count": 5}]
    assert dispatch.per_step({"loss": np.float32(3)}, 1) == [{"loss": 3}]
