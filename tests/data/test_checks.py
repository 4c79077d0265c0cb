import shutil

import numpy as np
import pytest

from alexnet_jax import config as configuration
from alexnet_jax.data import checks
from alexnet_jax.data.sources import tfds
from alexnet_jax.data.sources.base import ArraySource
from alexnet_jax.train import experiment
from tests.data.array_records import write_dataset
from tests.data.folders import open_folder, source_settings, write_folder
from tests.data.packs import pack
from tests.data.photos import jpeg


@pytest.fixture
def photos(tmp_path):
    write_folder(tmp_path, per_class=2)
    return tmp_path


def _problems(root):
    return checks.find_problems({split: open_folder(root, split) for split in ("train", "eval")})


def test_good_data_have_no_problems(photos):
    assert _problems(photos) == []


def test_classes_of_one_split_only_are_found(photos):
    for name in "abcdef":
        shutil.copytree(photos / "train/class0", photos / f"train/{name}")
    assert _problems(photos) == [
        (
            "data: 6 classes are in the training or the evaluation data only (a, b, c, d, e, ...); labels would not "
            "mean the same. Give both the same classes."
        )
    ]


@pytest.mark.parametrize("num_classes", [None, 2])
def test_one_class_is_nothing_to_learn(photos, num_classes):
    for split in ("train", "val"):
        shutil.rmtree(photos / split / "class0")
    config = configuration.default_config()
    config.data.path, config.model.num_classes, config.batch_size = str(photos), num_classes, 2
    sources = experiment.open_sources(config)
    experiment.settle_classes(config, sources)
    assert [fault.text for fault in experiment.data_faults(config, sources)] == [
        (
            f"{photos}/train has one class folder, class1, so there is nothing to tell apart; add folders of other "
            "classes, or name the folder above the classes as data.path."
        )
    ]


def test_arrays_of_one_class_are_found():
    images, labels = np.zeros((2, 2, 2, 3), np.uint8), np.zeros(2, np.int32)
    for names, there in {("a",): "a", (): "none"}.items():
        source = ArraySource(images, labels, names)
        assert checks.find_problems({"train": source, "eval": source})[0] == (
            f"the data have fewer than two classes ({there}), so there is nothing to tell apart; name other data."
        )


def test_labels_out_of_range_are_found():
    images = np.zeros((4, 2, 2, 3), np.uint8)
    good = ArraySource(images, np.array([0, 1, 0, 1], np.int32), ("a", "b"))
    bad = ArraySource(images, np.array([0, 2, -1, 1], np.int32), ("a", "b"))
    assert checks.find_problems({"train": good, "eval": bad}) == [
        "2 of the 4 eval labels are not in 0 to 1; the first is 2, of example 1. Mend the labels."
    ]


def test_labels_of_encoded_examples_are_tried(tmp_path):
    """As of TFDS's imagenet2012, whose test split has the label -1 throughout."""
    splits = {"train": [(jpeg(i), i % 2) for i in range(4)], "test": [(jpeg(9), -1)] * 9}
    directory = write_dataset(tmp_path, splits)
    settings = source_settings(directory)
    sources = {split: tfds.open_split(settings, split) for split in ("train", "eval")}
    assert checks.find_problems({"train": sources["train"], "eval": sources["train"]}) == []
    (text,) = checks.find_problems(sources)
    assert text.startswith(
        "8 of the 8 eval labels tried are not in 0 to 1; the first is -1, of photos/1.0.0 test, example 0, photo"
    )
    assert text.endswith(".jpg. Mend the labels, or name a split that has some.")


def test_a_split_without_examples_is_found(photos):
    sources = {split: open_folder(photos, split) for split in ("train", "eval")}
    sources["eval"].paths, sources["eval"].labels = [], np.zeros(0, np.int32)
    assert checks.find_problems(sources) == [
        "there are no eval examples; name a split that has some."
    ]
    empty = ArraySource(np.zeros((0, 2, 2, 3), np.uint8), np.zeros(0, np.int32), ("a", "b"))
    assert checks.find_problems({"train": empty, "eval": empty}) == [
        f"there are no {split} examples; name a split that has some." for split in ("train", "eval")
    ]


def test_files_that_are_no_images_are_found(photos):
    for file in (photos / "val").rglob("*.JPEG"):
        file.write_bytes(b"<html>404</html>")
    (text,) = _problems(photos)
    assert text.startswith("none of 4 eval images tried can be read: ")
    assert "val/class0/val000.JPEG (cannot identify image file)" in text
    assert text.endswith("Are these images, and was the copy complete?")
    one = photos / "val/class1/val003.JPEG"
    shutil.copy(photos / "train/class1/train003.JPEG", one)
    assert _problems(photos) == []  # one that decodes is enough to start


def test_images_in_both_splits_are_found(photos):
    shutil.copy(photos / "train/class1/train003.JPEG", photos / "val/class0/train003.JPEG")
    shutil.copy(photos / "train/class1/train002.JPEG", photos / "val/class0/train000.JPEG")
    assert _problems(photos) == [
        (
            "1 images are in the training and in the evaluation data (class1/train003.JPEG); accuracy on images "
            "trained on means nothing. Remove them from one of the two."
        )
    ]


def test_images_in_both_splits_are_found_whatever_class_has_their_name_too(tmp_path):
    contents = {"train": (b"one", b"two", b"three"), "val": (b"six", b"one", b"twelve")}
    for split, files in contents.items():
        for number, content in enumerate(files):
            file = tmp_path / split / f"class{number}" / "0.png"
            file.parent.mkdir(parents=True)
            file.write_bytes(content)
    train, test = open_folder(tmp_path), open_folder(tmp_path, "eval")
    (text,) = checks._shared_problems(train, test)
    assert text.startswith("1 images are in the training and in the evaluation data (class0/0.png)")


def test_only_files_of_one_name_and_size_are_read_each_once(tmp_path, monkeypatch):
    sizes = {"train": (1, 2, 2, 3), "val": (2, 2, 4, 5)}
    for split, files in sizes.items():
        for number, size in enumerate(files):
            file = tmp_path / split / f"class{number}" / "0.png"
            file.parent.mkdir(parents=True)
            file.write_bytes(f"{split[0]}{number}".encode() * size)
    train, test = open_folder(tmp_path), open_folder(tmp_path, "eval")
    read, opened = checks._content, []
    monkeypatch.setattr(checks, "_content", lambda file: opened.append(file) or read(file))
    assert checks._shared_problems(train, test) == []
    assert sorted(str(file.relative_to(tmp_path)) for file in opened) == [
        *("train/class1/0.png", "train/class2/0.png", "val/class0/0.png", "val/class1/0.png"),
    ]


def test_a_request_reports_them(photos):
    shutil.copy(photos / "train/class1/train003.JPEG", photos / "val/class1/train003.JPEG")
    config = configuration.default_config()
    config.data.path, config.model.num_classes, config.batch_size = str(photos), 2, 4
    faults = experiment.data_faults(config, experiment.open_sources(config))
    assert [fault.key for fault in faults] == ["data"]
    assert "are in the training and in the evaluation data" in faults[0].text


def test_packing_refuses_what_a_run_would(photos, capsys):
    shutil.copytree(photos / "train/class0", photos / "train/another")
    shutil.copy(photos / "train/class1/train003.JPEG", photos / "val/class1/train003.JPEG")
    problems = _problems(photos)
    assert len(problems) == 2
    assert pack(f"folder:{photos}", photos / "out", "--size=32") == 2
    assert capsys.readouterr().err.splitlines() == problems
    assert not (photos / "out").exists()


def test_classes_are_counted(photos):
    assert checks.class_counts(open_folder(photos)).tolist() == [2, 2]
