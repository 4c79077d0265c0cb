"""TFDS data sets in ArrayRecord, read without TensorFlow.

The tests of TFDS's own builders need an interpreter with TensorFlow: this one, or the one that
ALEXNET_JAX_PREPARE_PYTHON names.
"""

import importlib.util
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import alexnet_jax
from alexnet_jax.data import decode, prepare
from alexnet_jax.data.sources import SOURCES, folder, tfds
from alexnet_jax.data.sources.base import ArraySource, InMemory
from alexnet_jax.errors import RequestError
from tests.data import archives
from tests.data.array_records import write_dataset
from tests.data.folders import source_settings
from tests.data.photos import encode, jpeg, photo

ROOT = Path(alexnet_jax.__file__).parents[1]
EXAMPLES = {
    "train": [(jpeg(i), i % 2) for i in range(7)],
    "test": [(jpeg(i), 1) for i in range(7, 10)],
}


def _open(path, split="train", **changes):
    return SOURCES["tfds"](source_settings(path, **changes), split)


def _contents(source):
    return sorted((source[i]["image"], source[i]["label"]) for i in range(len(source)))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("tfds"), EXAMPLES)


def test_examples_are_the_encoded_files(photos):
    for split, name in [("train", "train"), ("eval", "test")]:
        source = _open(photos, split)
        assert _contents(source) == sorted(EXAMPLES[name])
        assert source.class_names == ("a", "b")


def test_a_data_directory_and_a_name_will_do(photos):
    for name in ("photos", "photos:1.0.0"):
        assert len(_open(photos.parents[1], name=name)) == 7


def test_the_newest_version_is_read(tmp_path):
    first = write_dataset(tmp_path, EXAMPLES)
    for version in ("1.2.0", "1.10.0"):
        info = (first / "dataset_info.json").read_text().replace("1.0.0", version)
        target = first.parent / version
        target.mkdir()
        for file in first.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        (target / "dataset_info.json").write_text(info)
    assert "photos/1.10.0" in _open(tmp_path, name="photos").describe(0)
    assert "photos/1.2.0" in _open(tmp_path, name="photos:1.2.0").describe(0)


def test_splits_can_be_chosen_and_cut(photos):
    assert len(_open(photos, train_split="train[:5]")) == 5
    assert len(_open(photos, "eval", eval_split="train[5:]")) == 2


def test_splits_can_be_added(photos, small):
    for opened in (tfds.open_split, tfds.open_for_packing):
        both = opened(source_settings(photos, train_split="train[:5]+test"), "train")
        whole = [opened(source_settings(photos), split) for split in ("train", "eval")]
        expected = [*(whole[0][i] for i in range(5)), *(whole[1][i] for i in range(3))]
        assert [both[i] for i in range(len(both))] == expected
    added = _open(small, train_split="train+test", eval_split="test[1:]")
    assert (len(added), isinstance(added, InMemory)) == (8, True)


@pytest.mark.parametrize(
    "wanted",
    [
        *(
            "val",
            "train+val",
            "train[",
            "train[:10x]",
            "train[:9999999]",
            "train[:101%]",
            "all[:3]",
        ),
        *("train[:0]", "train[4:1]", "train[3:1]+test", "train[:1%]"),  # no example
    ],
)
def test_a_split_that_is_not_there_is_refused(photos, small, wanted):
    for directory, sizes in [(photos, (7, 3)), (small, (6, 2))]:
        text = (
            f"data.eval_split={wanted!r}: photos/1.0.0 in {directory} has the splits train ({sizes[0]} examples), test "
            f"({sizes[1]} examples); name one of them, or examples of them in TFDS's notation, such as 'train[:90%]' "
            "or 'train+test'."
        )
        for opened in (tfds.open_split, tfds.open_for_packing):
            with pytest.raises(RequestError) as caught:
                opened(source_settings(directory, eval_split=wanted), "eval")
            assert str(caught.value) == text


def test_an_example_is_described_by_its_file(photos):
    assert re.search(r"photos/1.0.0 train, example 0, photo\d.jpg", _open(photos).describe(0))


def test_the_fingerprint_tells_splits_and_data_apart(photos, tmp_path):
    other = write_dataset(tmp_path, EXAMPLES | {"train": EXAMPLES["train"][1:]})
    prints = [_open(photos).fingerprint(), _open(photos, "eval").fingerprint()]
    assert prints[0] == _open(photos).fingerprint()
    assert len({*prints, _open(other).fingerprint()}) == 3


def test_small_images_of_one_size_are_decoded_at_the_start(tmp_path):
    pngs = [(encode(photo(i, 32, 32), "PNG"), i % 2) for i in range(6)]
    source = _open(write_dataset(tmp_path, {"train": pngs}, shape=(32, 32, 3), shards=1))
    assert isinstance(source, ArraySource)
    images, labels = source.gather(np.arange(6))
    np.testing.assert_array_equal(images, [np.asarray(photo(i, 32, 32)) for i in range(6)])
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Images of one size: six to train on, two to evaluate with."""
    pngs = [(encode(photo(i, 32, 32), "PNG"), i % 2) for i in range(8)]
    splits = {"train": pngs[:6], "test": pngs[6:]}
    return write_dataset(tmp_path_factory.mktemp("small"), splits, shape=(32, 32, 3), shards=1)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train_split": "test", "eval_split": "train"},
        {"train_split": "test+train[:4]", "eval_split": "test"},
    ],
)
@pytest.mark.parametrize("images_in_memory", [1, 2, 5, 6, 7, 8])
def test_both_splits_are_arrays_or_neither_is(small, monkeypatch, images_in_memory, changes):
    monkeypatch.setattr(tfds, "IN_MEMORY_BYTES", images_in_memory * 32 * 32 * 3)
    for opened in (tfds.open_split, tfds.open_for_packing):
        sources = [opened(source_settings(small, **changes), split) for split in ("train", "eval")]
        kinds = {isinstance(source, InMemory) for source in sources}
        assert kinds == {images_in_memory == 8}


def test_a_missing_data_set_says_how_to_prepare_it(tmp_path):
    with pytest.raises(RequestError) as caught:
        _open(tmp_path, name="imagenet2012")
    text = str(caught.value)
    assert f"there is no prepared data set 'imagenet2012' in {tmp_path}" in text
    assert f"bash scripts/prepare_tfds.sh imagenet2012 ARCHIVES {tmp_path}" in text
    with pytest.raises(RequestError, match=r"data\.source='tfds' needs data\.name"):
        _open(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset_info.json", b"{"),
        ("dataset_info.json", b"{}"),
        ("dataset_info.json", b"\xff\xfe"),
        ("features.json", None),
        ("features.json", b"{"),
        ("features.json", b'{"type": "x"}'),
        ("features.json", b"5"),
    ],
)
def test_a_damaged_copy_says_how_to_prepare_it_anew(tmp_path, name, content):
    directory = write_dataset(tmp_path, EXAMPLES)
    (directory / name).unlink()
    if content is not None:
        (directory / name).write_bytes(content)
    for opened in (tfds.open_split, tfds.open_for_packing):
        with pytest.raises(RequestError) as caught:
            opened(source_settings(directory), "train")
        text = str(caught.value)
        assert text.startswith(f"{directory} is damaged: TFDS cannot read its metadata (")
        assert text.endswith(
            "prepare it anew: bash scripts/prepare_tfds.sh NAME ARCHIVES DIRECTORY"
        )


def test_several_configurations_must_be_told_apart(tmp_path):
    for name in ("photos/one", "photos/two"):
        (tmp_path / name / "1.0.0").mkdir(parents=True)
        (tmp_path / name / "1.0.0" / "dataset_info.json").write_text("{}")
    with pytest.raises(RequestError, match="name one: photos/one, photos/two"):
        _open(tmp_path, name="photos")


def test_a_tfrecord_copy_says_how_to_convert_it(tmp_path):
    directory = write_dataset(tmp_path, EXAMPLES, file_format="tfrecord")
    with pytest.raises(RequestError) as caught:
        _open(directory)
    command = f"python -m alexnet_jax pack tfds:photos/1.0.0@{directory} OUT"
    assert (
        f"prepared as tfrecord, which cannot be read in random order; convert it once: {command}"
        in str(caught.value)
    )


def test_packing_reads_a_tfrecord_copy(tmp_path):
    directory = write_dataset(tmp_path, EXAMPLES, file_format="tfrecord", shards=3)
    source = tfds.open_for_packing(source_settings(directory), "train")
    assert _contents(source) == sorted(EXAMPLES["train"])
    cut = tfds.open_for_packing(source_settings(directory, train_split="train[2:6]"), "train")
    whole = [source[i] for i in range(7)]
    assert [cut[i] for i in range(4)] == whole[2:6]
    file = next(directory.glob("*train*"))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(RequestError, match="is cut short at byte"):
        tfds.open_for_packing(source_settings(directory), "train")


def test_other_tasks_are_refused(photos):
    import tensorflow_datasets

    info = tensorflow_datasets.builder_from_directory(photos).info
    info = types.SimpleNamespace(
        features=info.features, supervised_keys=("image", "file_name"), full_name="photos/1.0.0"
    )
    with pytest.raises(RequestError, match="is not for image classification: image, file_name"):
        tfds._keys(info)


def test_preparing_explains_itself(tmp_path, capsys, monkeypatch):
    assert prepare.main(["mnist", str(tmp_path), str(tmp_path)]) == 2
    assert "cannot prepare 'mnist'; only cifar10 and imagenet2012" in capsys.readouterr().err
    assert prepare.main(["cifar10", str(tmp_path), str(tmp_path)]) == 2
    assert "lacks cifar-10-binary.tar.gz; download it" in capsys.readouterr().err
    assert prepare.main([]) == 2
    assert "usage: prepare cifar10|imagenet2012" in capsys.readouterr().err
    archives.write_cifar10(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert prepare.main(["cifar10", str(tmp_path), str(tmp_path)]) == 2
    assert "pip install -e '.[prepare]'" in capsys.readouterr().err


def _train(tmp_path, config: str, *overrides: str) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "tests/data/no_tensorflow.py", "alexnet_jax.main"]
    command += ["--config", ROOT / f"configs/{config}.py", "--workdir", tmp_path / "run"]
    command += [f"--config.{override}" for override in overrides]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


SMALL = ("model.variant=cifar32", "model.precision=float32", "schedule.warmup_epochs=0")


def test_training_and_evaluation_need_no_tensorflow(photos, tmp_path):
    run = _train(
        tmp_path,
        "imagenet",
        *SMALL,
        *("model.num_classes=2", "data.source=tfds", f"data.path={photos}"),
        *("batch_size=3", "num_epochs=1", "eval.resize_pixels=40"),
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1].endswith("n=3")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """CIFAR-10 and ImageNet, built by TFDS from archives in their exact format."""
    own = importlib.util.find_spec("tensorflow") is not None
    python = sys.executable if own else os.environ.get("ALEXNET_JAX_PREPARE_PYTHON")
    if python is None:
        pytest.skip(
            "NOT RUN: TFDS's builders need TensorFlow; install the extra 'prepare' here, or name an interpreter that "
            "has it in ALEXNET_JAX_PREPARE_PYTHON"
        )
    root = tmp_path_factory.mktemp("prepared")
    archives.write_cifar10(root / "archives")
    archives.write_imagenet(root / "archives")
    for name in prepare.ARCHIVES:
        command = [python, ROOT / "tests/data/build_tfds.py", name, root / "archives", root]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    return root


def test_cifar10_is_what_its_archive_holds(prepared):
    for split, there in [("train", slice(0, 100)), ("eval", slice(100, 120))]:
        records = archives.cifar10_records()[there]
        planes = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        expected = sorted(zip(records[:, 0].tolist(), map(np.ndarray.tobytes, planes), strict=True))
        source = _open(prepared, split, name="cifar10")
        got = zip(source.labels.tolist(), map(np.ndarray.tobytes, source.images), strict=True)
        assert sorted(got) == expected
        assert source.class_names == tuple(archives.CIFAR10_NAMES)


def test_cifar10_trains_without_tensorflow(prepared, tmp_path):
    run = _train(
        tmp_path,
        "cifar10",
        *SMALL,
        *("data.source=tfds", "data.name=cifar10", f"data.path={prepared}"),
        *("batch_size=20", "num_epochs=2"),
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1].endswith("n=20")


def test_imagenet_is_what_its_tars_hold(prepared, tmp_path):
    """The same images through TFDS and through class folders: labels, and pixels at evaluation."""
    train, test = (_open(prepared, split, name="imagenet2012") for split in ("train", "eval"))
    assert (len(train), len(test)) == (12, len(archives.VALIDATION))
    assert train.num_classes == 1000
    names = {split: _by_name(source) for split, source in [("train", train), ("eval", test)]}
    synsets = {name: test.class_names[label] for name, (_, label) in names["eval"].items()}
    archives.write_imagenet_folders(tmp_path, synsets)
    view, generator = decode.center(128, 112), np.random.default_rng(0)
    for split in ("train", "eval"):
        source = folder.open_split(source_settings(tmp_path), split)
        for index in range(len(source)):
            file, example = Path(source.describe(index)), source[index]
            encoded, label = names[split][file.name]
            assert train.class_names[label] == file.parent.name
            if file.name == "n01440764_4.JPEG":
                with pytest.raises(OSError, match="truncated"):
                    view(encoded, generator)
                continue
            one, other = (
                view(image, generator).astype(int) for image in (encoded, example["image"])
            )
            # TFDS stores ImageNet's CMYK files and its PNG again as JPEG.
            converted = file.name in ("n01739381_1309.JPEG", "n02105855_2933.JPEG")
            assert np.abs(one - other).mean() <= (6 if converted else 0), file.name


def _by_name(source) -> dict[str, tuple[bytes, int]]:
    examples = [(source.describe(i).rpartition(", ")[2], source[i]) for i in range(len(source))]
    return {name: (example["image"], example["label"]) for name, example in examples}


def test_imagenet_trains_without_tensorflow(prepared, tmp_path):
    arguments = (
        *SMALL,
        *("data.source=tfds", "data.name=imagenet2012", f"data.path={prepared}"),
        *("batch_size=4", "num_epochs=1", "eval.resize_pixels=40", "log_every_steps=1"),
    )
    run = _train(tmp_path, "imagenet", *arguments)
    assert run.returncode == 2
    assert "1 of the 12 train images cannot be read" in run.stderr
    assert "n01440764_4.JPEG" in run.stderr
    run = _train(tmp_path, "imagenet", *arguments, "data.max_broken_fraction=0.1")
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("n01440764_4.JPEG") == 1
    assert run.stdout.splitlines()[-1].endswith(f"n={len(archives.VALIDATION)}")
