"""The command that labels images, on directories, lists and broken files."""

import io
import json
import os
import re

import jax
import numpy as np
import pytest

import alexnet_jax
from alexnet_jax.__main__ import main
from alexnet_jax.data import imagenet
from alexnet_jax.model.weights import write
from alexnet_jax.train import loop
from tests.data import photos
from tests.train.runs import build, small_config


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "cifar32.safetensors"
    alexnet_jax.save(alexnet_jax.create("cifar32", num_classes=7, seed=1), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """200 images of which three are broken, one of them in a folder of its own, and hidden files."""
    root = tmp_path_factory.mktemp("images")
    (root / "deeper").mkdir()
    for number in range(197):
        place = root / "deeper" if number % 2 else root
        (place / f"{number:03}.jpg").write_bytes(photos.jpeg(number % 9, 60 + number % 5, 50))
    (root / ".thumbnails").mkdir()
    for hidden in ("._000.jpg", ".thumbnails/000.jpg"):
        (root / hidden).write_bytes(b"")
    (root / "empty.jpg").write_bytes(b"")
    (root / "text.png").write_text("no pixels")
    (root / "deeper" / "cut.jpg").write_bytes(photos.jpeg(0)[:300])
    return root


def predict(weights, *arguments):
    return main(["predict", "--weights", str(weights), *map(str, arguments)])


def test_197_of_200_are_labelled_and_three_named(weights, folder, capsys):
    assert predict(weights, "--json", folder) == 1
    out, err = capsys.readouterr()
    records = [json.loads(line) for line in out.splitlines()]
    assert len(records) == 197
    assert [r["image"] for r in records] == sorted(r["image"] for r in records)
    for name in ("empty.jpg", "text.png", "deeper/cut.jpg"):
        assert f"{folder / name} is not an image that can be read" in err
    assert err.splitlines()[-1] == "3 of 200 images could not be read"
    assert len(err.splitlines()) == 4

    images = alexnet_jax.preprocess([r["image"] for r in records], image_size=32)
    expected = np.asarray(jax.nn.softmax(alexnet_jax.load(weights)(images)))
    for record, row in zip(records, expected, strict=True):
        found = {p["index"]: p["probability"] for p in record["predictions"]}
        assert list(found) == np.argsort(-row, kind="stable")[:5].tolist()
        np.testing.assert_allclose(list(found.values()), np.sort(row)[::-1][:5], atol=1e-5)
        assert record["predictions"][0]["label"] == f"class {next(iter(found))}"


def test_a_table_of_a_list_from_standard_input(weights, folder, capsys, monkeypatch):
    listed = [folder / "000.jpg", folder / "deeper" / "001.jpg"]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{path}\n" for path in listed)))
    assert predict(weights, "--top", 2, "-") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(path) for path in listed]
    assert all(line.count("%") == 2 for line in lines)


def test_a_missing_file_is_told_and_the_rest_go_on(weights, folder, capsys):
    assert predict(weights, folder / "nowhere.jpg", folder / "000.jpg") == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert f"{folder / 'nowhere.jpg'}: there is no such file." in err


def test_a_listed_name_that_is_not_utf8_is_labelled(weights, tmp_path, capsys, monkeypatch):
    listed = [tmp_path / os.fsdecode(b"a\xe9.jpg"), tmp_path / "b.jpg"]
    for path in listed:
        path.write_bytes(photos.jpeg(0, 60, 50))
    lines = b"".join(os.fsencode(path) + b"\n" for path in listed)
    # As Python opens it where the locale is not C's.
    stdin = io.TextIOWrapper(io.BytesIO(lines), encoding="utf-8", errors="strict")
    monkeypatch.setattr("sys.stdin", stdin)
    assert predict(weights, "--json", "-") == 0
    out = capsys.readouterr().out
    assert [json.loads(line)["image"] for line in out.splitlines()] == [*map(str, listed)]


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_a_name_that_is_not_utf8_is_labelled_and_the_rest_go_on(weights, tmp_path, capsys, options):
    for name in (b"a\xe9.jpg", b"b.jpg"):
        (tmp_path / os.fsdecode(name)).write_bytes(photos.jpeg(0, 60, 50))
    assert predict(weights, *options, tmp_path) == 0
    first, second = capsys.readouterr().out.splitlines()
    if options:
        assert json.loads(first)["image"] == str(tmp_path / os.fsdecode(b"a\xe9.jpg"))
    else:
        assert first.startswith(f"{tmp_path}/a?.jpg  ")
    assert f"{tmp_path}/b.jpg" in second


def test_a_runs_classes_and_its_look_at_images(tmp_path, folder, capsys):
    workdir = tmp_path / "run"
    whole = {"data.mean": (0, 0, 0), "data.std": (1, 1, 1)}
    loop.train(build(small_config(num_epochs=1, **whole)), workdir)
    (workdir / "classes.json").write_text(json.dumps(["n01440764", *"bcdefghij"]))
    capsys.readouterr()
    assert predict(workdir, "--json", "--top", 10, folder / "000.jpg") == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    labels = {p["index"]: p["label"] for p in record["predictions"]}
    assert labels[0] == "tench, Tinca tinca"
    assert labels[9] == "j"
    image = alexnet_jax.preprocess(
        [record["image"]],
        image_size=32,
        resize_pixels=32,
        protocol="squash",
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )
    row = np.asarray(jax.nn.softmax(alexnet_jax.load(workdir)(image)))[0]
    found = [p["probability"] for p in record["predictions"]]
    np.testing.assert_allclose(found, np.sort(row)[::-1], atol=1e-5)

    file = tmp_path / "of_the_run.safetensors"  # says the same
    assert main(["convert", str(workdir), str(file)]) == 0
    for path in (workdir, workdir / "checkpoints" / "12", file):
        seen = alexnet_jax.preprocess([record["image"]], **alexnet_jax.look(path))
        np.testing.assert_array_equal(seen, image)
    capsys.readouterr()
    assert predict(file, "--json", "--top", 10, folder / "000.jpg") == 0
    assert json.loads(capsys.readouterr().out) == record


def test_only_imagenets_own_names_are_shortened(tmp_path, folder, capsys):
    names = ["shirt, red", "shirt, blue", "n01440764"]
    file = tmp_path / "shirts.safetensors"
    write.write(alexnet_jax.create("cifar32", num_classes=3), file, {"classes": json.dumps(names)})
    assert predict(file, folder / "000.jpg") == 0
    line = capsys.readouterr().out.removeprefix(f"{folder / '000.jpg'}  ")
    shown = {part.strip() for part in re.split(r"[0-9.]+%", line)[1:]}
    assert shown == {"shirt, red", "shirt, blue", "tench"}


def test_a_file_that_says_nothing_of_a_run_is_converted(weights, folder, tmp_path):
    again = tmp_path / "again.safetensors"
    assert main(["convert", str(weights), str(again)]) == 0
    assert predict(again, folder / "000.jpg") == 0


@pytest.mark.parametrize(
    "metadata",
    [
        {"classes": "[1, 2]"},
        {"look": "not JSON"},
        {"look": "[]"},
        {"look": '{"resize_pixels": 40, "protocol": "center", "mean": [0.5], "std": [0.5]}'},
        {
            "look": '{"resize_pixels": 40, "protocol": "center", "mean": [0, 0, NaN], "std": [1, 1, 1]}'
        },
        {"look": '{"resize_pixels": 40, "protocol": [], "mean": [], "std": []}'},
    ],
)
def test_what_a_file_says_of_a_run_is_checked(tmp_path, folder, capsys, metadata):
    file = tmp_path / "odd.safetensors"
    write.write(alexnet_jax.create("cifar32", num_classes=2), file, metadata)
    assert predict(file, folder / "000.jpg") == 2
    assert f"says its {next(iter(metadata))} in a way that is not ours" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top", "0", "a.jpg"], "--top=0 is not possible; use at least 1."),
        (["--batch-size", "0", "a.jpg"], "--batch-size=0 is not possible; use at least 1."),
        (["nothing"], "there are no images in"),
    ],
)
def test_wrong_requests(weights, tmp_path, capsys, arguments, message):
    (tmp_path / "nothing").mkdir()
    arguments = [str(tmp_path / a) if a == "nothing" else a for a in arguments]
    assert predict(weights, *arguments) == 2
    assert message in capsys.readouterr().err


def test_imagenets_classes():
    names = imagenet.class_names()
    assert len(names) == 1000
    assert list(imagenet.classes()) == sorted(imagenet.classes())
    # Well-known places, as in the demos of torchvision and Keras.
    for label, name in {
        1: "goldfish",
        207: "golden retriever",
        281: "tabby",
        980: "volcano",
    }.items():
        assert names[label].startswith(name)
