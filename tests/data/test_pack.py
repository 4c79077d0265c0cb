"""Packing: the files, and what is read from them."""

import errno
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from alexnet_jax import __main__ as door
from alexnet_jax import config as configuration
from alexnet_jax.data import decode
from alexnet_jax.data import pack as packing
from alexnet_jax.data.sources import folder, tfds
from alexnet_jax.errors import RequestError
from alexnet_jax.train import experiment, loop, parts
from tests.data.array_records import write_dataset
from tests.data.folders import open_folder, source_settings, write_folder
from tests.data.packs import contents, open_packed, pack
from tests.data.photos import encode, jpeg, photo, truncated


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    write_folder(root, per_class=8)
    return root


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "whole"
    assert pack(f"folder:{photos}", out, "--size=64", "--num-threads=1") == 0
    return out


def test_training_images_are_squashed_and_keep_their_shapes(photos, whole):
    source, files = open_packed(whole), open_folder(photos)
    images, labels = source.gather(np.arange(16)[::-1])
    assert source.class_names == files.class_names
    assert (len(source), source.num_classes) == (16, 2)
    for index in range(16):
        example = files[index]
        pixels = decode.squash(64, 64)(example["image"], np.random.default_rng(0))
        np.testing.assert_array_equal(images[15 - index], pixels)
        np.testing.assert_array_equal(source[index]["image"], pixels)
        assert labels[15 - index] == source[index]["label"] == example["label"]
    assert source.shapes.tolist() == [[190, 250]] * 16


@pytest.mark.parametrize("protocol", ["center", "squash"])
def test_evaluation_sees_what_it_sees_of_the_files(photos, whole, protocol):
    """The very pixels where the recipe resizes to the packed size; else those of the packed image, resized."""
    source, files = open_packed(whole, "eval", protocol), open_folder(photos, "eval")
    images, labels = source.gather(np.arange(16))
    assert source.shapes is None
    config = configuration.default_config()
    config.model.variant, config.data.image_size, config.eval.protocol = "cifar32", 56, protocol
    config.data.mean, config.data.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    for resize in (64, 60, 56):
        config.eval.resize_pixels = resize
        seen = 255 * np.asarray(parts.device_transform(config, arrays=True)(images))
        view = decode.PROTOCOLS[protocol](resize, 56)
        for index in range(16):
            data = (
                files[index]["image"]
                if resize == 64
                else encode(Image.fromarray(images[index]), "PNG")
            )
            pixels = view(data, np.random.default_rng(0))
            assert np.abs(seen[index] - pixels).mean() <= (1e-3 if resize == 64 else 0.4)
            assert labels[index] == files[index]["label"]


def test_shards_hold_what_one_file_holds(photos, whole, tmp_path):
    out = tmp_path / "out"
    assert pack(f"folder:{photos}", out, "--size=300", "--shard-mebibytes=1") == 0
    assert len(list(out.glob("train-*.bin"))) == 6  # three images of 270 kB each
    source = open_packed(out)
    chosen = np.array([15, 0, 7, 7, 8, 2])
    images, labels = source.gather(chosen)
    for row, index in enumerate(chosen):
        np.testing.assert_array_equal(images[row], source[int(index)]["image"])
        assert labels[row] == index // 8
    encoded = open_folder(photos)[7]["image"]
    pixels = decode.squash(300, 300)(encoded, np.random.default_rng(0))
    np.testing.assert_array_equal(images[2], pixels)


def test_the_same_request_writes_the_same_files(photos, whole, tmp_path):
    assert pack(f"folder:{photos}", tmp_path / "again", "--size=64", "--num-threads=3") == 0
    assert contents(tmp_path / "again") == contents(whole)


def test_verify_finds_one_flipped_byte(whole, tmp_path, capsys):
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    assert door.main(["pack", "--verify", str(out)]) == 0
    assert "every file is as it was packed" in capsys.readouterr().out
    for name in (
        "train-00000.bin",
        "eval_squash-00000.bin",
        "train-labels.npy",
        "train-shapes.npy",
    ):
        data = bytearray((out / name).read_bytes())
        data[len(data) // 2] ^= 1
        (out / name).write_bytes(data)
        assert door.main(["pack", "--verify", str(out)]) == 1
        assert (
            capsys.readouterr().err
            == f"{out / name} has another checksum than when it was packed\n"
        )
        data[len(data) // 2] ^= 1
        (out / name).write_bytes(data)
    (out / "train-00000.bin").write_bytes(b"")
    (out / "eval-labels.npy").unlink(missing_ok=True)
    (out / "train-labels.npy").unlink()
    assert door.main(["pack", "--verify", str(out)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"{out / 'train-00000.bin'} has 0 bytes, not {16 * 64 * 64 * 3}",
        f"{out / 'train-labels.npy'} is missing",
    ]


def test_verify_goes_on_after_a_file_that_cannot_be_read(whole, tmp_path, monkeypatch, capsys):
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    (out / "train-shapes.npy").unlink()
    checksum = packing._sha256

    def failing(path):
        if path.name == "train-00000.bin":
            raise OSError(errno.EIO, "Input/output error")
        return checksum(path)

    monkeypatch.setattr(packing, "_sha256", failing)
    assert door.main(["pack", "--verify", str(out)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{out / 'train-00000.bin'} cannot be read (Input/output error); make it readable, or name another.",
        f"{out / 'train-shapes.npy'} is missing",
    ]


def test_nothing_is_overwritten(photos, whole, tmp_path, capsys):
    before = contents(whole)
    assert pack(f"folder:{photos}", whole, "--size=64") == 2
    assert "holds a packed data set already; it is not overwritten" in capsys.readouterr().err
    assert contents(whole) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    assert pack(f"folder:{photos}", tmp_path / "mine") == 2
    assert "exists and is no packed data set; choose another directory" in capsys.readouterr().err


def test_a_part_of_another_packing_is_not_continued(photos, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    sources = {split: open_folder(photos, split) for split in ("train", "eval")}
    request = packing.Request(f"folder:{photos}", sources, 48, 2**30, 0.001, 1)
    (tmp_path / "out" / "plan.json").write_text(json.dumps(packing._plan(request)))
    assert pack(f"folder:{photos}", tmp_path / "out", "--size=64") == 2
    assert "holds a part of another packing (size, views differ)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"format": 1}', b'{"format": 1, "views": {"train": {}}}', b"\xff" * 20],
)
def test_a_damaged_manifest_or_plan_is_named(photos, tmp_path, capsys, content):
    for name, arguments in [
        ("manifest.json", ("--verify",)),
        ("manifest.json", (f"folder:{photos}",)),
        ("plan.json", (f"folder:{photos}",)),
    ]:
        out = tmp_path / f"{name}-{len(arguments[0])}"
        out.mkdir()
        (out / name).write_bytes(content)
        assert door.main(["pack", *arguments, str(out)]) == 2
        assert f"{out / name} is damaged (" in capsys.readouterr().err


def test_what_a_manifest_says_lies_elsewhere_stays(photos, whole, tmp_path, capsys):
    """A finished directory is tidied: of the files beside the manifest, and of no others."""
    manifest = json.loads((whole / "manifest.json").read_text())
    manifest["views"]["train"]["shards"][0]["file"] = "../mine.bin"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "mine.json").write_text("")
    assert pack(f"folder:{photos}", tmp_path / "out") == 2
    assert "'../mine.bin' is not the name of a file beside it" in capsys.readouterr().err
    assert (tmp_path / "mine.json").exists()


def test_a_full_disk_is_noticed_first(photos, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)._replace(free=2**28 + 500_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert pack(f"folder:{photos}", tmp_path / "out", "--size=64") == 2
    assert "needs 0.0 GB more and the disk has 0.3 GB free; make room" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.bin"))
    # The smaller size that the message speaks of is no other packing than one begun.
    assert pack(f"folder:{photos}", tmp_path / "out", "--size=32") == 0


def test_a_file_in_the_place_of_a_directory_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "digits"
    assert pack("digits", out) == 2
    assert capsys.readouterr().err == (
        f"{out} cannot be written (Not a directory); make room or make it writable, or name another place.\n"
    )


def test_requests_that_make_no_sense(tmp_path, capsys):
    out = str(tmp_path / "out")
    for arguments, text in [
        ([out], "pack needs SOURCE and OUT; got only one of them"),
        (
            ["zip:x", out],
            "SOURCE='zip:x' is unknown; it begins with folder, tfds, cifar10_binary, digits",
        ),
        (["digits", out, "--size=0"], "--size=0 is not possible; use at least 1."),
        (["digits", out, "--num-threads=-1"], "--num-threads=-1 is not possible; use at least 0."),
        (
            ["digits", out, "--max-broken-fraction=nan"],
            "--max-broken-fraction=nan is not possible; use a number in [0, 1].",
        ),
        (["digits", out, "--max-broken-fraction=-1"], "-1.0 is not possible; use a number in ["),
        (["folder:x", out, "--eval-fraction=1"], "=1.0 is not possible; use a number in [0, 1)."),
        (["digits", out, "--eval-fraction=nan"], "nan is not possible; use a number in [0, 1)."),
        (["--verify", out], "is no packed data set: it has no manifest.json"),
    ]:
        assert door.main(["pack", *arguments]) == 2
        assert text in capsys.readouterr().err
    assert not Path(out).exists()


def test_a_size_beyond_any_disk_is_refused(photos, tmp_path, capsys):
    """Its bytes do not fit 64 bits, so NumPy's product of the shape was negative."""
    assert pack(f"folder:{photos}", tmp_path / "out", f"--size={2**31}") == 2
    assert "GB more and the disk has" in capsys.readouterr().err


def test_damaged_packed_data_are_noticed_at_the_start(whole, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    (out / "train-00000.bin").write_bytes(b"short")
    with pytest.raises(
        RequestError, match=r"train-00000.bin has 5 bytes; the manifest says 196608"
    ):
        open_packed(out)
    (out / "train-00000.bin").unlink()
    with pytest.raises(RequestError, match=r"train-00000.bin is missing; the manifest says"):
        open_packed(out)
    manifest = json.loads((out / "manifest.json").read_text()) | {"format": 99}
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RequestError, match="is of format 99, this version reads 1; pack again"):
        open_packed(out)


def test_broken_images_are_replaced_and_counted(tmp_path, capsys):
    write_folder(tmp_path / "photos", broken=(2,))
    arguments = (f"folder:{tmp_path / 'photos'}", tmp_path / "out", "--size=32")
    assert pack(*arguments) == 2
    assert "1 of the 10 train images cannot be read" in capsys.readouterr().err
    assert pack(*arguments, "--max-broken-fraction=0.1") == 0
    out = capsys.readouterr().out
    assert "replaced broken images: 1 in train, 0 in eval_center, 0 in eval_squash" in out
    source = open_packed(tmp_path / "out")
    np.testing.assert_array_equal(source[2]["image"], source[3]["image"])


def test_arrays_are_stored_as_they_are(tmp_path):
    from sklearn.datasets import load_digits

    assert pack("digits", tmp_path / "out") == 0
    train, test = open_packed(tmp_path / "out"), open_packed(tmp_path / "out", "eval")
    assert train.image_shape == (32, 32, 3)
    assert (len(train), len(test)) == (1437, 360)
    assert train.shapes is None
    counts = np.bincount(np.concatenate([train.labels, test.labels]))
    np.testing.assert_array_equal(counts, np.bincount(load_digits().target))


def test_a_folder_that_nothing_divides_is_divided_by_a_fraction(photos, tmp_path, capsys):
    """As a run divides it: the packed images are those of the run's splits."""
    root, out = photos / "train", tmp_path / "out"
    assert pack(f"folder:{root}", out) == 2
    assert "say what share of each to evaluate with" in capsys.readouterr().err
    assert pack(f"folder:{root}", out, "--eval-fraction=0.25", "--size=64") == 0
    settings = source_settings(root, eval_fraction=0.25)
    for split, count in [("train", 12), ("eval", 4)]:
        files, source = folder.open_split(settings, split), open_packed(out, split, "squash")
        images, labels = source.gather(np.arange(count))
        assert (len(source), len(files)) == (count, count)
        for image, label, file in zip(images, labels, files, strict=True):
            pixels = decode.squash(64, 64)(file["image"], np.random.default_rng(0))
            np.testing.assert_array_equal(image, pixels)
            assert label == file["label"]


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_tfds_copies_are_packed(tmp_path, file_format):
    splits = {"train": [(jpeg(i), i % 2) for i in range(5)], "test": [(jpeg(9), 1)]}
    write_dataset(tmp_path, splits, file_format=file_format)
    assert pack(f"tfds:photos@{tmp_path}", tmp_path / "out", "--size=48") == 0
    source = open_packed(tmp_path / "out")
    got = sorted((source[i]["image"].tobytes(), source[i]["label"]) for i in range(5))
    view = decode.squash(48, 48)
    expected = [(view(data, None).tobytes(), label) for data, label in splits["train"]]
    assert got == sorted(expected)


def test_tfds_copies_of_which_one_split_fits_in_memory_are_packed(tmp_path, monkeypatch):
    pngs = [(encode(photo(i, 32, 32), "PNG"), i % 2) for i in range(8)]
    splits = {"train": pngs[:2], "test": pngs[2:]}
    directory = write_dataset(tmp_path / "small", splits, shape=(32, 32, 3), shards=1)
    monkeypatch.setattr(tfds, "IN_MEMORY_BYTES", 5 * 32 * 32 * 3)
    assert pack(f"tfds:@{directory}", tmp_path / "out", "--size=40") == 0
    source = open_packed(tmp_path / "out", "eval", "squash")
    expected = decode.squash(40, 40)(pngs[2][0], np.random.default_rng(0))
    np.testing.assert_array_equal(source[0]["image"], expected)


def test_a_split_without_labels_is_not_packed(tmp_path, capsys):
    splits = {"train": [(jpeg(i), i % 2) for i in range(5)], "test": [(jpeg(9), -1)] * 3}
    write_dataset(tmp_path, splits)
    assert pack(f"tfds:photos@{tmp_path}", tmp_path / "out", "--size=48") == 2
    assert "3 of the 3 eval labels tried are not in 0 to 1; the first" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_split_without_examples_is_not_packed(tmp_path, capsys):
    write_dataset(tmp_path, {"train": [(jpeg(i), i % 2) for i in range(5)]})
    options = ["--train-split=train[:4]", "--eval-split=train[4:4]"]
    assert pack(f"tfds:photos@{tmp_path}", tmp_path / "out", *options) == 2
    assert capsys.readouterr().err.startswith("data.eval_split='train[4:4]': photos/1.0.0 in ")
    assert not (tmp_path / "out").exists()


def test_every_label_is_looked_at(tmp_path, capsys):
    """The one that is wrong is none of those tried at the start."""
    train = [(jpeg(i % 4, 40, 30), 7 if i == 1 else 0) for i in range(20)]
    write_dataset(tmp_path, {"train": train, "test": train[:1]}, shards=1)
    assert pack(f"tfds:photos@{tmp_path}", tmp_path / "out", "--size=48") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "photos/1.0.0 train, example 1, photo1.jpg, has the label 7, which is not in 0 to 1; mend it and pack again."
    )
    assert not list((tmp_path / "out").glob("*.bin"))


def test_the_fingerprint_follows_the_pixels(photos, whole, tmp_path):
    assert pack(f"folder:{photos}", tmp_path / "other", "--size=60") == 0
    prints = {
        open_packed(root, split).fingerprint()
        for root in (whole, tmp_path / "other")
        for split in ("train", "eval")
    }
    assert len(prints) == 4
    assert open_packed(whole).fingerprint() == open_packed(whole).fingerprint()


def _run(whole, tmp_path, **changes):
    config = configuration.default_config()
    config.model.variant, config.model.num_classes = "cifar32", 2
    config.model.precision = "float32"
    config.data.source, config.data.path = "packed", str(whole)
    config.batch_size, config.num_epochs, config.log_every_steps = 4, 2, 1
    config.augment.crop, config.augment.flip_probability = "random_resized", 0.5
    config.eval.resize_pixels = 36
    config.update_from_flattened_dict(changes)
    assert configuration.validate(config) == []
    run = experiment.build(config, experiment.open_sources(config), jax.devices("cpu")[:1])
    return run, loop.train(run, tmp_path)


def test_training_from_packed(whole, tmp_path):
    run, final = _run(whole, tmp_path / "run")
    assert final.num_examples == 16
    batch = next(run.train_batches(0))
    assert batch["image"].shape == (4, 64, 64, 3)
    assert batch["shape"].tolist() == [[190, 250]] * 4
    assert batch["image"].dtype == np.uint8
    records = [
        json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    ]
    assert {record["split"] for record in records} == {"train", "eval"}


@pytest.mark.parametrize("device_count", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_evaluation_counts_every_image_once(whole, batch_size, device_count, photos):
    config = configuration.default_config()
    config.model.variant, config.model.num_classes = "cifar32", 2
    config.data.source, config.data.path = "packed", str(whole)
    config.batch_size = batch_size
    sources = experiment.open_sources(config)
    run = experiment.build(config, sources, jax.devices("cpu")[:device_count])
    seen = [int(batch["mask"].sum()) for batch in run.eval_batches()]
    labels = np.concatenate(
        [np.asarray(batch["label"])[np.asarray(batch["mask"])] for batch in run.eval_batches()]
    )
    assert sum(seen) == 16
    np.testing.assert_array_equal(labels, sources["eval"].labels)


def test_images_smaller_than_the_packed_size_are_enlarged(tmp_path):
    write_folder(tmp_path / "photos", per_class=1)
    small = tmp_path / "photos/train/class0/train000.JPEG"
    Image.open(small).resize((20, 10)).save(small)
    assert pack(f"folder:{tmp_path / 'photos'}", tmp_path / "out", "--size=48") == 0
    assert open_packed(tmp_path / "out").shapes.tolist() == [[10, 20], [190, 250]]


def test_truncated_photos_are_truncated():
    """The tests above mean something only if the broken ones are broken."""
    with pytest.raises(OSError, match="truncated"):
        decode.open_image(truncated(0))
