import itertools
import json

import pytest

from alexnet_jax.__main__ import main
from alexnet_jax.train import input_speed, peer_tf_data
from tests.data.folders import write_folder

PARTS = ("read", "decode", "gather", "transfer", "augment", "together")


def _measure(capsys, *options: str) -> dict:
    fixed = ["--seconds", "0.05", "--batch-size", "4", "--variant", "cifar32", "--json"]
    assert main(["benchmark", "input", *options, *fixed]) == 0
    return json.loads(capsys.readouterr().out)


def _positive(figures: dict) -> set[str]:
    assert set(figures) == {"source", *PARTS, "cpu_seconds_per_image"}
    assert figures["cpu_seconds_per_image"] > 0
    return {part for part in PARTS if figures[part] is not None and figures[part] > 0}


def test_files_are_read_and_decoded_packed_pixels_gathered(tmp_path, capsys):
    write_folder(tmp_path / "photos", per_class=4)
    figures = _measure(capsys, "--source", "folder", "--path", str(tmp_path / "photos"))
    assert figures["source"] == "folder"
    assert _positive(figures) == set(PARTS) - {"gather"}
    assert main(["pack", f"folder:{tmp_path / 'photos'}", str(tmp_path / "out"), "--size=40"]) == 0
    capsys.readouterr()
    figures = _measure(capsys, "--source", "packed", "--path", str(tmp_path / "out"))
    assert _positive(figures) == set(PARTS) - {"read", "decode"}


@pytest.mark.parametrize("parallelism", ["pmap", "hybrid", "auto"])
def test_precision_and_parallelism_are_those_of_the_run(capsys, monkeypatch, parallelism):
    runs, measure = [], input_speed.measure_input

    def noted(run, transform, **options):
        runs.append(run)
        return measure(run, transform, **options)

    monkeypatch.setattr(input_speed, "measure_input", noted)
    options = ["--source=synthetic", "--precision=bfloat16", f"--parallelism={parallelism}"]
    assert _positive(_measure(capsys, *options)) == set(PARTS) - {"read", "decode"}
    (run,) = runs
    assert run.precision == run.config.model.precision == "bfloat16"
    assert run.config.parallelism == parallelism


def test_a_folder_that_nothing_divides_is_divided_by_a_fraction(tmp_path, capsys):
    write_folder(tmp_path, per_class=4)
    figures = _measure(capsys, f"--path={tmp_path / 'train'}", "--eval-fraction=0.25")
    assert _positive(figures) == set(PARTS) - {"gather"}
    request = ["benchmark", "input", f"--path={tmp_path / 'train'}", "--batch-size=7"]
    assert main([*request, "--eval-fraction=0.25"]) == 2
    assert "batch_size=7 is larger than the 6 training examples" in capsys.readouterr().err
    assert main([*request, "--eval-fraction=1"]) == 2
    assert "data.eval_fraction=1.0 is not possible; use a number" in capsys.readouterr().err


def test_calls_are_counted(monkeypatch):
    """Four calls of 0.25 s in a second; the first, which compiles, is left out."""
    now = [0.0]
    monkeypatch.setattr(input_speed.time, "perf_counter", lambda: now[0])

    def call():
        now[0] += 0.25 if now[0] else 10.0

    assert input_speed._calls_per_second(call, 1.0) == pytest.approx(4.0)


def test_tf_data_and_ours_take_turns_with_the_same_resize(tmp_path, monkeypatch, capsys):
    write_folder(tmp_path, per_class=4)
    order, asked = [], []

    def turn(name, rates):
        def measure(*_):
            order.append(name)
            return rates.pop(0), 0.5

        return measure

    def batches(files, **settings):
        asked.append(settings)
        return itertools.repeat(None)

    monkeypatch.setattr(input_speed, "host_batches", turn("ours", [10.0, 30.0, 20.0]))
    monkeypatch.setattr(peer_tf_data, "rates", turn("theirs", [5.0, 1.0, 9.0]))
    monkeypatch.setattr(peer_tf_data, "batches", batches)
    figures = _measure(capsys, "--path", str(tmp_path), "--against", "tf.data")
    assert order == ["ours", "theirs"] * 3
    assert all(settings["antialias"] for settings in asked)
    assert (figures["host"], figures["tf_data"]) == (20.0, 5.0)
    assert figures["times_tf_data_per_cpu_second"] == 1.0


def test_a_wrong_request_is_explained(tmp_path, capsys):
    assert main(["benchmark", "input", "--source", "zip"]) == 2
    assert "data.source='zip' is unknown" in capsys.readouterr().err
    assert main(["benchmark", "input", "--source", "packed", "--path", str(tmp_path)]) == 2
    assert "is no packed data set" in capsys.readouterr().err
    write_folder(tmp_path, per_class=2)
    assert main(["benchmark", "input", "--path", str(tmp_path), "--batch-size", "400"]) == 2
    assert "batch_size=400 is larger than the 4 training examples" in capsys.readouterr().err
