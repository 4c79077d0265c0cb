import dataclasses
import json
import re

import pytest

from alexnet_jax.errors import RequestError
from alexnet_jax.train import loop, parts, rollback
from alexnet_jax.train.writers import read_metrics
from tests.train.runs import assert_same_bits, build, saved_arrays, small_config

EXACT = ("step", "epoch", "split", "loss", "top1", "top5", "learning_rate", "num_examples")


def _exact(records: list[dict]) -> list[dict]:
    """The records without what depends on the clock."""
    return [{name: record[name] for name in EXACT if name in record} for record in records]


class _Killed(BaseException):
    """Ends a run without any clean-up of ours."""


def _train_until(run, workdir, stop_after: int) -> None:
    steps = iter(range(stop_after))
    jitted = run.train_step.lower

    class Lowered:
        def lower(self, state, batch):
            compiled = jitted(state, batch).compile()

            def step(state, batch):
                if next(steps, None) is None:
                    raise _Killed
                return compiled(state, batch)

            step.memory_analysis = lambda: None
            return type("", (), {"compile": lambda self: step})()

    with pytest.raises(_Killed):
        loop.train(dataclasses.replace(run, train_step=Lowered()), workdir)


@pytest.mark.parametrize("stop_after", [4, 13, 17])
def test_a_stopped_run_ends_as_if_it_had_not_been(tmp_path, stop_after):
    config = small_config(**{"checkpoint.every_steps": 5})
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    loop.train(build(config), whole)
    _train_until(build(config), stopped, stop_after)
    loop.train(build(config), stopped)
    assert_same_bits(saved_arrays(whole, 24), saved_arrays(stopped, 24))
    assert _exact(read_metrics(whole)) == _exact(read_metrics(stopped))


def test_what_a_run_writes(tmp_path, capsys):
    config = small_config()
    final = loop.train(build(config, device_count=2), tmp_path)

    records = read_metrics(tmp_path)
    assert [(r["step"], r["split"]) for r in records] == [
        *((5, "train"), (10, "train"), (12, "train"), (12, "eval")),
        *((15, "train"), (20, "train"), (24, "train"), (24, "eval")),
    ]
    train, evaluation = records[0], records[-1]
    assert set(train) == {
        *("step", "epoch", "split", "loss", "top1", "top5", "learning_rate"),
        *("images_per_second", "input_wait_fraction", "device"),
    }
    assert set(evaluation) == {
        *("step", "epoch", "split", "loss", "top1", "top5", "num_examples"),
        *("top1_low", "top1_high", "device"),
    }
    assert evaluation["num_examples"] == 24
    assert evaluation["epoch"] == 2
    assert evaluation["device"] == "2 x cpu"

    assert json.loads((tmp_path / "config.json").read_text()) == json.loads(
        json.dumps(config.to_dict())
    )
    card = json.loads((tmp_path / "run.json").read_text())
    assert card["final"] == final.record()
    assert card["device"]["count"] == 2
    assert card["precision"] == "float32"
    assert card["versions"]["jax"]
    assert set(card["data_fingerprint"]) == {"train", "eval"}
    parts = card["time_seconds"]
    assert set(parts) == {
        *("start", "compile", "input_wait", "step", "evaluation", "checkpoint", "total")
    }
    assert parts["total"] == pytest.approx(sum(parts.values()) - parts["total"], abs=0.01)
    assert all(seconds >= 0 for seconds in parts.values())
    assert card["images_per_second"] > 0
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))

    lines = capsys.readouterr().out.splitlines()
    pattern = r"eval step=24 loss=\d+\.\d{4} top1=\d\.\d{4} top5=\d\.\d{4} n=24"
    assert re.fullmatch(pattern, lines[-1])
    assert lines[-1].split(" ")[3] == f"top1={final.top1:.4f}"
    assert any(line.startswith("train step=5 epoch=0.42 loss=") for line in lines)


def test_tensorboard_holds_the_metrics(tmp_path):
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    loop.train(build(small_config(num_epochs=1)), tmp_path)
    (file,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    data, found, pictures, place = file.read_bytes(), {}, set(), 0
    while place < len(data):  # a record: length, its checksum, the event, its checksum
        length = int.from_bytes(data[place : place + 8], "little")
        body = data[place + 12 : place + 12 + length]
        assert masked_crc32c(body) == int.from_bytes(data[place + 12 + length :][:4], "little")
        event = Event.FromString(body)
        found |= {(event.step, value.tag): value.simple_value for value in event.summary.value}
        pictures |= {(event.step, value.tag) for value in event.summary.value if value.image.width}
        place += 16 + length
    for record in read_metrics(tmp_path):
        assert found[record["step"], f"{record['split']}/top1"] == pytest.approx(record["top1"])
    tags = ("filters", "train/augmented")
    assert pictures == {(step, tag) for step in (0, 12) for tag in tags}


def test_a_finished_run_is_evaluated_again_and_not_recorded_twice(tmp_path, capsys):
    config = small_config(num_epochs=1)
    first = loop.train(build(config), tmp_path)
    records, card = read_metrics(tmp_path), (tmp_path / "run.json").read_bytes()
    again = loop.train(build(config), tmp_path)
    assert again == first
    assert read_metrics(tmp_path) == records
    assert (tmp_path / "run.json").read_bytes() == card  # its rates and times are not lost
    out = capsys.readouterr().out.replace("\n", " ")
    assert "continues from step 12, the last: nothing is left to train" in out


def test_a_card_of_fewer_steps_is_written_anew(tmp_path):
    """Killed between the last checkpoint of a longer run and its card."""
    loop.train(build(small_config(num_epochs=1)), tmp_path)
    short = (tmp_path / "run.json").read_text()
    loop.train(build(small_config(num_epochs=2)), tmp_path)
    (tmp_path / "run.json").write_text(short)
    loop.train(build(small_config(num_epochs=2)), tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["steps"] == 24


def test_damaged_records_of_a_finished_run_are_written_anew(tmp_path, capsys):
    """What is read of them is what has changed and how fast it was; the run can do without."""
    config = small_config(num_epochs=1)
    loop.train(build(config), tmp_path)
    settings, card = tmp_path / "config.json", tmp_path / "run.json"
    written = settings.read_text()
    for damage in ({settings: ""}, {settings: "", card: ""}, {card: '{"steps": 12}'}):
        for file, content in damage.items():
            file.write_text(content)
        capsys.readouterr()
        loop.train(build(config), tmp_path)
        output = capsys.readouterr().out
        for file, content in damage.items():
            assert (f"warning: {file} is damaged (" in output) == (not content)
        assert "changed since" not in output
        assert settings.read_text() == written
        assert json.loads(card.read_text())["config"] == json.loads(written)


def test_all_that_may_hang_after_the_last_step_is_watched(tmp_path, monkeypatch):
    watched = []
    monkeypatch.setattr(loop.StallWatch, "waits_for", lambda self, what: watched.append(what))
    config = small_config(num_epochs=1)
    loop.train(build(config), tmp_path)
    assert watched[-1] == "the last checkpoint"
    watched.clear()
    loop.train(build(config), tmp_path)
    assert watched == [*["an evaluation's batch"] * 3, "the last checkpoint"]


def test_rollbacks_of_steps_that_are_trained_again_do_not_count(tmp_path):
    events = [(0, "rollback", 1), (12, "rollback", 2), (12, "stall", 0), (24, "rollback", 3)]
    records = [
        {"step": step, "split": "event", "epoch": 0, "event": event, "rollbacks": rollbacks}
        for step, event, rollbacks in events
    ]
    lines = "".join(f"{json.dumps(record)}\n" for record in records)
    (tmp_path / "metrics.jsonl").write_text(lines)
    assert [rollback.count(tmp_path, step) for step in (0, 11, 12, 24)] == [1, 1, 2, 3]


def test_a_rolled_back_run_keeps_its_data_on_the_device(tmp_path, capsys):
    config = small_config(**{"num_epochs": 1, "data.resident": "true", "log_every_steps": 12})
    run = build(config)
    slower = rollback.rebuild(run, 1)
    assert slower.resident["train"] is run.resident["train"]
    assert slower.broken is run.broken
    event = {"step": 0, "split": "event", "epoch": 0, "event": "rollback", "rollbacks": 1}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(event) + "\n")
    loop.train(run, tmp_path)
    assert "goes on at 0.5 times the learning rate, after 1 rollbacks" in capsys.readouterr().out
    (rate,) = (r["learning_rate"] for r in read_metrics(tmp_path) if r["split"] == "train")
    assert rate == pytest.approx(float(parts.schedule(config, 12)(11)) / 2)


def test_a_longer_run_continues_and_says_what_changed(tmp_path, capsys):
    loop.train(build(small_config(num_epochs=1)), tmp_path)
    capsys.readouterr()
    loop.train(build(small_config(num_epochs=2)), tmp_path)
    output = capsys.readouterr().out
    assert "changed since its last start: num_epochs: 1 -> 2" in output
    assert output.splitlines()[-1].startswith("eval step=24 ")


def test_a_shorter_run_is_refused(tmp_path):
    loop.train(build(small_config(num_epochs=2)), tmp_path)
    with pytest.raises(
        RequestError, match=r"has trained 24 steps already, more than the 12 of this"
    ):
        loop.train(build(small_config(num_epochs=1)), tmp_path)


def test_a_longer_run_of_another_model_is_called_another_model(tmp_path):
    loop.train(build(small_config(num_epochs=2)), tmp_path)
    with pytest.raises(RequestError, match="is a checkpoint of another model"):
        loop.train(build(small_config(**{"num_epochs": 1, "model.num_classes": 7})), tmp_path)


def test_evaluate_only(tmp_path, capsys):
    config = small_config(num_epochs=1)
    trained = loop.train(build(config), tmp_path)
    files = sorted(path for path in tmp_path.rglob("*"))
    capsys.readouterr()
    assert loop.evaluate_only(build(config, device_count=4), tmp_path) == pytest.approx(trained)
    assert capsys.readouterr().out.startswith("eval step=12 loss=")
    assert sorted(path for path in tmp_path.rglob("*")) == files


@pytest.mark.parametrize(
    "training",
    [
        {"schedule.name": "plateau", "optimizer.momentum": 0.0},
        {"model.precision": "float16"},
        {"optimizer.ema_decay": 0.9},
    ],
)
def test_a_run_is_evaluated_without_the_settings_of_its_training(tmp_path, training):
    trained = loop.train(build(small_config(num_epochs=1, **training)), tmp_path)
    evaluated = loop.evaluate_only(build(small_config(num_epochs=1)), tmp_path)
    assert evaluated.num_examples == trained.num_examples
    assert evaluated.loss == pytest.approx(trained.loss, rel=2e-3)  # float16 evaluates in float16


def test_an_evaluation_that_looks_otherwise_than_the_runs_own_says_so(tmp_path, capsys):
    loop.train(build(small_config(num_epochs=1)), tmp_path)
    capsys.readouterr()
    changed = small_config(**{"data.mean": (0.1, 0.2, 0.3), "batch_size": 4})
    loop.evaluate_only(build(changed), tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: not as the run in {tmp_path} was evaluated: data.mean: [0.485, ")
    assert line.endswith("-> [0.1, 0.2, 0.3]")


def test_an_average_that_was_not_kept_is_not_evaluated(tmp_path):
    loop.train(build(small_config(num_epochs=1)), tmp_path)
    averaged = {"optimizer.ema_decay": 0.9, "eval.use_ema": True}
    with pytest.raises(RequestError, match=r"checkpoints/12 keeps no moving average of the para"):
        loop.evaluate_only(build(small_config(**averaged)), tmp_path)


def test_evaluate_only_needs_a_checkpoint(tmp_path):
    with pytest.raises(RequestError, match="holds no checkpoint to evaluate; train first"):
        loop.evaluate_only(build(small_config()), tmp_path)


def test_init_weights_starts_from_another_run(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    loop.train(build(small_config(num_epochs=1)), first)
    config = small_config(
        **{"init_weights": str(first), "optimizer.learning_rate": 0.0, "num_epochs": 1}
    )
    loop.train(build(config), second)
    one, other = saved_arrays(first, 12), saved_arrays(second, 12)
    for name in one:
        if name.startswith("['params']"):
            assert one[name].tobytes() == other[name].tobytes()


def test_another_run_is_evaluated_under_any_recipe(tmp_path, capsys):
    """A workdir and its checkpoint alike: the parameters or their average, whatever it was trained by."""
    run = tmp_path / "run"
    loop.train(build(small_config(**{"num_epochs": 1, "optimizer.ema_decay": 0.9})), run)
    capsys.readouterr()

    def evaluated(path, **changes):
        config = small_config(init_weights=str(path), **changes)
        averages = loop.evaluate_only(build(config), tmp_path / "none")
        assert capsys.readouterr().out.startswith("eval step=12 loss=")
        return averages.loss

    averaged = {"optimizer.ema_decay": 0.5, "eval.use_ema": True}
    for changes in ({}, averaged):
        losses = [evaluated(path, **changes) for path in (run, run / "checkpoints" / "12")]
        assert losses[0] == losses[1]
    assert evaluated(run, **averaged) != evaluated(run)


def test_init_weights_must_hold_weights(tmp_path):
    config = small_config(init_weights=str(tmp_path))
    with pytest.raises(
        RequestError, match="holds no checkpoint; name a workdir or a file of weights"
    ):
        loop.train(build(config), tmp_path / "run")


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("device_count", [1, 4])
def test_evaluation_counts_every_image_once(tmp_path, batch_size, device_count):
    """At batch sizes that neither the images nor the devices divide."""
    config = small_config(batch_size=batch_size)
    run = build(config, device_count)
    averages = loop.evaluate(run.eval_step, run.initial_state, run.eval_batches())
    reference = build(small_config(batch_size=24))
    expected = loop.evaluate(reference.eval_step, reference.initial_state, reference.eval_batches())
    assert averages.num_examples == 24
    assert averages == pytest.approx(expected, rel=1e-5)


def test_metrics_of_a_torn_last_line_are_dropped(tmp_path):
    config = small_config(num_epochs=1)
    loop.train(build(config), tmp_path)
    records = read_metrics(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "spl')
    loop.train(build(config), tmp_path)
    assert read_metrics(tmp_path) == records
