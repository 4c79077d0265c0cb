import json
import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from alexnet_jax import __main__, main
from alexnet_jax.commands import report
from alexnet_jax.config import default_config
from alexnet_jax.errors import RequestError
from alexnet_jax.report import examination, mistakes, page
from alexnet_jax.report.records import read_run
from alexnet_jax.train.predictions import Predictions

ROOT = Path(__file__).parents[2]


def _predictions(labels, first, losses) -> Predictions:
    classes = np.array(first)[:, None]
    return Predictions(np.array(labels), np.array(losses), classes, np.ones(classes.shape))


def test_confusion_matrix_is_scikit_learn_s():
    from sklearn.metrics import confusion_matrix

    labels, first = np.random.default_rng(0).integers(0, 7, (2, 500))
    ours = mistakes.confusion_matrix(_predictions(labels, first, np.zeros(500)), 7)
    np.testing.assert_array_equal(ours, confusion_matrix(labels, first, labels=range(7)))


def test_most_confused_best_and_worst():
    found = _predictions([0, 0, 0, 1, 2], [1, 1, 0, 1, 0], [2.0, 3.0, 0.5, 0.1, 4.0])
    assert mistakes.most_confused(found, ("ant", "bee", "cat"), 9) == [
        ("ant", "bee", 2, 3),
        ("cat", "ant", 1, 1),
    ]
    assert mistakes.best(found).tolist() == [3, 2, 0, 1, 4]
    assert mistakes.worst(found).tolist() == [4, 1, 0, 2, 3]


def test_the_page_says_what_the_run_did(pages, workdir):
    page = pages.one.read_text()
    card = json.loads((workdir / "run.json").read_text())
    assert f"{card['final']['top1'] * 100:.2f} %".replace(".00", "") in page
    wrong = round((1 - card["final"]["top1"]) * 360)
    assert f"{wrong} of 360 images are taken for another class" in page
    assert card["data_fingerprint"]["eval"] in page
    assert "optimizer.learning_rate" in page
    assert "<script" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_published_figure_stands_beside_ours(pages):
    page = pages.published.read_text()
    assert "A paper, on a device" in page
    assert "90 %" in page
    assert ">published</text>" in page  # the line in the chart
    assert "The run has not ended" in page
    assert "No publisher" in pages.one.read_text()


def test_two_runs_and_what_was_set_differently(pages):
    page = pages.two.read_text()
    (table,) = re.findall(r'<table class="results">(.*?)</table>', page, re.DOTALL)
    assert len(re.findall(r"<small>[\d.]+ % to [\d.]+ %</small>", table)) == 2  # top-1's interval
    assert "<th>first</th><th>second</th>" in page
    assert "0.05" in page
    assert "0.025" in page


def test_the_command_can_be_copied(bare):
    """Of the training door, which notes the file that Python found for it, and of a program that calls it."""
    card = json.loads((bare / "run.json").read_text())
    asked = ["--config", "configs/digits.py", "--config.optimizer.freeze=('conv1',)"]
    quoted = """--config configs/digits.py &#39;--config.optimizer.freeze=(&#39;&#34;&#39;&#34;&#39;conv1"""
    for program, shown in {
        "/home/of a/alexnet_jax/main.py": "python -m alexnet_jax.main",
        "/home/of a/train.py": "&#39;/home/of a/train.py&#39;",
    }.items():
        (bare / "run.json").write_text(json.dumps(card | {"command": [program, *asked]}))
        assert f"<dt>Command</dt><dd>{shown} {quoted}" in _page_of(bare)


def test_of_five_classes_top5_is_left_out_and_starting_weights_are_told(bare):
    settings = json.loads((bare / "config.json").read_text())
    tile = "<dt>Top-5</dt>"
    assert tile in _page_of(bare)
    settings["model"]["num_classes"], settings["init_weights"] = 5, "alexnet.pth"
    (bare / "config.json").write_text(json.dumps(settings))
    page = _page_of(bare)
    assert tile not in page
    assert "<dt>Top-1</dt>" in page
    told = "The filters at the start are not shown: the run began with the weights of alexnet.pth."
    assert told in page


def test_the_command(workdir, tmp_path, capsys):
    assert (
        __main__.main(
            ["report", str(workdir), "--out", str(tmp_path / "r.html"), "--no-evaluation"]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert printed.startswith("report: ")
    assert "r.html, " in printed
    assert "Mistakes" not in (tmp_path / "r.html").read_text()
    assert __main__.main(["report", str(workdir), "--out", str(tmp_path / "no" / "r.html")]) == 2
    assert "there is no directory" in capsys.readouterr().err


@pytest.fixture
def bare(workdir, tmp_path):
    """The run without its checkpoints."""
    shutil.copytree(workdir, tmp_path / "bare", ignore=lambda *_: ["checkpoints", "tensorboard"])
    return tmp_path / "bare"


def _page_of(path) -> str:
    report.write([path], path / "report.html", evaluate=True)
    return (path / "report.html").read_text()


def test_a_run_reported_from_its_own_directory_has_its_name(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(default_config().to_json())
    monkeypatch.chdir(tmp_path)
    assert ("Directory", tmp_path.name) in page._card(read_run(Path()))


def test_a_file_s_name_that_is_not_utf_8_is_shown_with_a_replacement(
    workdir, tmp_path, monkeypatch
):
    monkeypatch.setattr(page, "render", lambda runs, seen: os.fsdecode(b"caf\xe9.png"))
    report.write([workdir], tmp_path / "page.html", evaluate=False)
    assert (tmp_path / "page.html").read_text("utf-8") == "caf?.png"


def test_without_checkpoint_and_with_damaged_lines(bare):
    metrics = (bare / "metrics.jsonl").read_text()
    (bare / "metrics.jsonl").write_text("nonsense\n" * 21 + metrics + metrics[:30])
    page = _page_of(bare)
    assert "There is no checkpoint (yet)" in page
    shown = ", ".join(map(str, range(1, 21)))
    assert f"Damaged lines of metrics.jsonl that were left out: {shown}, ... (21 in all)." in page
    assert "At the start" in page
    assert 'id="chart-loss"' in page


def test_a_damaged_checkpoint_is_not_shown(workdir, tmp_path):
    path = tmp_path / "damaged"
    shutil.copytree(workdir, path)
    newest = path / "checkpoints" / "70"
    shutil.copytree(path / "checkpoints" / "66", newest)
    _damage(newest)
    assert "After 66 steps" in _page_of(path)
    for checkpoint in (path / "checkpoints").iterdir():
        _damage(checkpoint)
    page = _page_of(path)
    assert "every checkpoint in" in page
    assert "is damaged" in page
    assert "At the start" in page


def _damage(checkpoint) -> None:
    """Cuts the largest file of a checkpoint in half."""
    file = max(checkpoint.rglob("*"), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_a_run_of_several_steps_a_dispatch_is_evaluated_again(workdir, tmp_path):
    path = tmp_path / "resident"
    shutil.copytree(workdir, path)
    settings = json.loads((path / "config.json").read_text())
    settings["data"]["resident"], settings["steps_per_dispatch"] = "true", 16
    (path / "config.json").write_text(json.dumps(settings))
    assert "of 360 images are taken for another class" in _page_of(path)


def test_an_image_that_cannot_be_read_is_no_example(tmp_path, capsys):
    for name, size in {"train": 16, "val": 6}.items():
        for index in range(size):
            path = tmp_path / f"images/{name}/{index % 2}/{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((32, 32, 3), 120 * (index % 2) + index + size, np.uint8)
            Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:60])
    settings = {
        "data.source": "folder",
        "data.path": tmp_path / "images",
        "data.max_broken_fraction": 0.5,
        "model.num_classes": 2,
        "batch_size": 8,
        "num_epochs": 1,
        "schedule.warmup_epochs": 0.0,
    }
    overrides = [f"--config.{key}={value}" for key, value in settings.items()]
    run = tmp_path / "run"
    config = f"--config={ROOT}/configs/digits.py"
    assert main.main(["main", config, f"--workdir={run}", *overrides]) == 0
    page = _page_of(run)
    assert "of 6 images are taken for another class. 1 could not be read" in page
    assert "0/0.png, a 0, " in page
    assert "1/5.png" not in page


def test_broken_images_are_no_reason_to_show_nothing(workdir, tmp_path, monkeypatch):
    def refuse(experiment, state):
        raise RequestError("9 of 360 images cannot be read")

    monkeypatch.setattr(examination, "predict", refuse)
    path = tmp_path / "broken"
    shutil.copytree(workdir, path)
    page = _page_of(path)
    assert "Nothing was evaluated again: 9 of 360 images cannot be read" in page
    assert "After 66 steps" in page


def test_a_continued_run_has_no_result_yet(bare):
    settings = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps(settings | {"num_epochs": 10}))
    page = _page_of(bare)
    assert "10 epochs; not ended" in page
    assert "there is no run card yet" in page


def test_without_the_data(workdir, tmp_path):
    path = tmp_path / "moved"
    shutil.copytree(workdir, path)
    settings = json.loads((path / "config.json").read_text())
    settings["data"] |= {"source": "cifar10_binary", "path": "/nowhere"}
    (path / "config.json").write_text(json.dumps(settings))
    page = _page_of(path)
    assert "The data are not here" in page
    assert "After 66 steps" in page  # the filters are
    assert "Mistakes" not in page


def test_data_that_cannot_be_read_are_named(tmp_path):
    config = default_config()
    config.data.path, config.model.num_classes = str(tmp_path), 2
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "ant").symlink_to("x" * 300)
    missing = []
    assert examination._open(config, missing) is None
    assert missing == [
        (
            f"The data are not here, so nothing was evaluated again: {tmp_path}/train/ant cannot be read (File name "
            "too long); make it readable, or name another."
        )
    ]


def test_settings_of_another_version(bare):
    settings = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps(settings | {"flux": 1}))
    assert "flux is no setting of this version of alexnet_jax" in _page_of(bare)


def test_a_setting_of_another_type_is_named(bare):
    settings = json.loads((bare / "config.json").read_text())
    settings["optimizer"]["momentum"] = [0.9]
    (bare / "config.json").write_text(json.dumps(settings))
    page = _page_of(bare)
    assert "config.json is damaged: optimizer.momentum is [0.9], not a number; restore it" in page


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("seed", None, "seed=None is not possible; the default is 0."),
        ("batch_size", 0, "batch_size=0 is not possible; use at least 1."),
    ],
)
def test_a_setting_that_no_run_can_have_is_named(tmp_path, key, value, fault):
    settings = json.loads(default_config().to_json())
    (tmp_path / "config.json").write_text(json.dumps(settings | {key: value}))
    seen = examination.examine(read_run(tmp_path), jax.devices()[0])
    assert seen.missing == (
        f"The network could not be built again: {tmp_path}/config.json is damaged: {fault} Restore it, or run again.",
    )
