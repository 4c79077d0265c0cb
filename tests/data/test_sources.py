import errno
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.data.sources import SOURCES, cifar10, digits
from alexnet_jax.data.sources.folder import held_out
from alexnet_jax.errors import RequestError
from tests.data.folders import source_settings


def _open(source: str, split: str = "train", path="", **changes):
    values = {"num_classes": 10, "synthetic_examples": 40} | changes
    return SOURCES[source](source_settings(path, **values), split)


def _write_cifar10(root, records_per_file: int = 4, *, mindspore: bool = False) -> np.ndarray:
    """Writes the archive in its exact format and returns all training records."""
    train = root / "cifar-10-batches-bin"
    test = root / "cifar-10-verify-bin" if mindspore else train
    train.mkdir(parents=True, exist_ok=True)
    test.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    records = generator.integers(0, 256, (6 * records_per_file, 3073), np.uint8)
    records[:, 0] %= 10
    for number, part in enumerate(np.split(records, 6), start=1):
        file = train / f"data_batch_{number}.bin" if number < 6 else test / "test_batch.bin"
        file.write_bytes(part.tobytes())
    return records


@pytest.mark.parametrize("name", ["folder", "cifar10_binary", "tfds", "packed"])
def test_a_directory_that_cannot_be_looked_into_is_named(tmp_path, monkeypatch, name):
    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    for question in ("exists", "is_dir", "is_file"):
        monkeypatch.setattr(f"pathlib.Path.{question}", refused)
    place = tmp_path / "manifest.json" if name == "packed" else tmp_path
    with pytest.raises(RequestError) as raised:
        _open(name, path=tmp_path)
    assert str(raised.value) == (
        f"{place} cannot be read (Permission denied); make it readable, or name another."
    )


@pytest.mark.parametrize("name", ["folder", "cifar10_binary", "tfds", "packed"])
def test_a_path_may_begin_at_home(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RequestError, match=re.escape(f"{tmp_path}/none")):
        _open(name, path="~/none", name="photos")
    with pytest.raises(RequestError, match="~nobody-of-this-name/none"):
        _open(name, path="~nobody-of-this-name/none", name="photos")


class TestDigits:
    def test_sizes_and_classes(self):
        train, test = _open("digits"), _open("digits", "eval")
        assert (len(train), len(test)) == (1437, 360)
        assert train.class_names == tuple("0123456789")
        assert set(np.bincount(test.labels)) <= {35, 36, 37}  # stratified
        assert train.images.shape == (1437, 32, 32, 3)

    def test_splits_share_no_image(self):
        train, test = _open("digits"), _open("digits", "eval")
        seen = {image.tobytes() for image in train.images}
        assert not [i for i, image in enumerate(test.images) if image.tobytes() in seen]

    def test_split_never_changes(self):
        assert _open("digits").fingerprint() == "acd0a5ae49f49ec9"
        assert _open("digits", "eval").fingerprint() == "28234b4708886062"

    def test_images_are_the_digits(self):
        """Averaged back to 8 x 8, each image is nearest to a bundled one of its own class."""
        from sklearn.datasets import load_digits

        bundled, source = load_digits(), _open("digits", "eval")
        small = source.images[..., 0].reshape(-1, 8, 4, 8, 4).mean((2, 4)) * (16 / 255)
        for image, label in zip(small[:40], source.labels, strict=False):
            distances = np.abs(bundled.images - image).mean((1, 2))
            assert distances.min() < 1.6
            assert bundled.target[distances.argmin()] == label

    def test_split_is_scikit_learn_s(self):
        from sklearn.model_selection import train_test_split

        _, labels = digits._read()
        split = train_test_split(np.arange(1797), test_size=0.2, random_state=0, stratify=labels)
        np.testing.assert_array_equal(np.loadtxt(digits.ORDER, dtype=int), np.concatenate(split))

    def test_is_what_scikit_learn_loads(self, monkeypatch):
        """Also from a version that keeps the file elsewhere."""
        from sklearn.datasets import load_digits

        loaded, ours = load_digits(), digits._read()
        np.testing.assert_array_equal(ours[0], loaded.images)
        np.testing.assert_array_equal(ours[1], loaded.target)
        monkeypatch.setattr(digits.Path, "exists", lambda path: False)
        for one, other in zip(digits._read(), ours, strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype

    def test_without_scikit_learn(self, monkeypatch):
        monkeypatch.setattr(digits.util, "find_spec", lambda name: None)
        with pytest.raises(RequestError, match="needs scikit-learn, which carries the images"):
            _open("digits")


class TestCifar10:
    @pytest.mark.parametrize("mindspore", [False, True])
    def test_reads_the_published_layouts(self, tmp_path, mindspore):
        records = _write_cifar10(tmp_path, mindspore=mindspore)
        train, test = (_open("cifar10_binary", split, tmp_path) for split in ("train", "eval"))
        assert (len(train), len(test)) == (20, 4)
        for source, part in ((train, records[:20]), (test, records[20:])):
            np.testing.assert_array_equal(source.labels, part[:, 0])
            for channel in range(3):
                plane = part[:, 1 + 1024 * channel :][:, :1024].reshape(-1, 32, 32)
                np.testing.assert_array_equal(source.images[..., channel], plane)

    def test_reads_one_flat_folder(self, tmp_path):
        _write_cifar10(tmp_path)
        flat = tmp_path / "cifar-10-batches-bin"
        assert len(_open("cifar10_binary", "eval", flat)) == 4

    def test_fingerprint_follows_the_data(self, tmp_path):
        _write_cifar10(tmp_path)
        before = _open("cifar10_binary", path=tmp_path).fingerprint()
        file = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
        data = bytearray(file.read_bytes())
        data[5000] ^= 1
        file.write_bytes(data)
        assert _open("cifar10_binary", path=tmp_path).fingerprint() != before

    def test_no_path(self):
        with pytest.raises(
            RequestError, match=r"needs data.path; download CIFAR-10's binary version"
        ):
            _open("cifar10_binary")

    def test_missing_file(self, tmp_path):
        _write_cifar10(tmp_path)
        (tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin").unlink()
        with pytest.raises(RequestError, match="holds no CIFAR-10 file data_batch_2.bin"):
            _open("cifar10_binary", path=tmp_path)

    @pytest.mark.parametrize("keep", [0, 3072, 5000])
    def test_truncated_file(self, tmp_path, keep):
        _write_cifar10(tmp_path)
        file = tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin"
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(
            RequestError, match=f"has {keep} bytes, which is not a whole number of 3073"
        ):
            _open("cifar10_binary", path=tmp_path)

    def test_a_file_that_cannot_be_read(self, tmp_path, monkeypatch):
        _write_cifar10(tmp_path)

        def failing(*arguments):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(np, "fromfile", failing)
        with pytest.raises(RequestError, match=r"data_batch_1\.bin cannot be read \(Input/output"):
            _open("cifar10_binary", path=tmp_path)

    def test_bad_label(self, tmp_path):
        _write_cifar10(tmp_path)
        file = tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin"
        data = bytearray(file.read_bytes())
        data[cifar10.RECORD_BYTES] = 10
        file.write_bytes(data)
        with pytest.raises(RequestError, match="record 1, has the label 10"):
            _open("cifar10_binary", path=tmp_path)


def _write_folder(root, classes=("ant", "bee", "cow"), per_class: int = 3):
    generator = np.random.default_rng(0)
    for folder in ("train", "val"):
        for name in classes:
            (root / folder / name).mkdir(parents=True)
            for number in range(per_class):
                pixels = generator.integers(0, 256, (20, 30, 3), np.uint8)
                suffix = ".png" if number == 0 else ".JPEG"
                Image.fromarray(pixels).save(root / folder / name / f"{number}{suffix}")


class TestFolder:
    def test_labels_are_sorted_folders(self, tmp_path):
        _write_folder(tmp_path)
        source = _open("folder", path=tmp_path)
        assert source.class_names == ("ant", "bee", "cow")
        assert source.paths == [
            *("ant/0.png", "ant/1.JPEG", "ant/2.JPEG", "bee/0.png", "bee/1.JPEG", "bee/2.JPEG"),
            *("cow/0.png", "cow/1.JPEG", "cow/2.JPEG"),
        ]
        np.testing.assert_array_equal(source.labels, [0, 0, 0, 1, 1, 1, 2, 2, 2])
        example = source[4]
        assert example["label"] == 1
        assert example["image"] == (tmp_path / "train/bee/1.JPEG").read_bytes()

    def test_fingerprint_follows_files_and_labels(self, tmp_path):
        _write_folder(tmp_path)
        lists = tmp_path / "train_list.txt"

        def fingerprint(text: str) -> str:
            lists.write_text(text)
            return _open("folder", path=tmp_path).fingerprint()

        right = fingerprint("cow/1.JPEG 2\nant/0.png 0\n")
        assert fingerprint("cow/1.JPEG 2\nant/0.png 0\n") == right
        assert fingerprint("cow/1.JPEG 1\nant/0.png 0\n") != right
        (tmp_path / "train/ant/0.png").write_bytes(b"shorter")
        assert fingerprint("cow/1.JPEG 2\nant/0.png 0\n") != right

    @pytest.mark.parametrize("prefix", ["", "val/"])
    def test_list_file(self, tmp_path, prefix):
        _write_folder(tmp_path)
        lines = [f"{prefix}cow/1.JPEG 2", f"{prefix}ant/0.png 0", ""]
        (tmp_path / "val_list.txt").write_text("\n".join(lines))
        source = _open("folder", "eval", tmp_path)
        assert source.paths == ["cow/1.JPEG", "ant/0.png"]
        np.testing.assert_array_equal(source.labels, [2, 0])

    def test_file_names_are_bytes(self, tmp_path):
        """A name that is not UTF-8 is found by itself and by a list, and is in the fingerprint."""
        _write_folder(tmp_path)
        name = os.fsdecode(b"caf\xe9.png")
        (tmp_path / "train/ant/0.png").rename(tmp_path / "train/ant" / name)
        source = _open("folder", path=tmp_path)
        assert source.paths[2] == f"ant/{name}"
        assert source[2]["label"] == 0
        alone = source.fingerprint()
        (tmp_path / "train/ant" / name).rename(tmp_path / "train/ant" / os.fsdecode(b"caf\xe8.png"))
        assert _open("folder", path=tmp_path).fingerprint() != alone

    def test_a_list_may_have_names_that_are_not_utf8(self, tmp_path):
        _write_folder(tmp_path)
        image = tmp_path / "train/ant/0.png"
        image.rename(image.with_name(os.fsdecode(b"caf\xe9.png")))
        (tmp_path / "train_list.txt").write_bytes(b"train/ant/caf\xe9.png 0\ncow/1.JPEG 2\n")
        source = _open("folder", path=tmp_path)
        assert len(source[0]["image"]) > 0
        np.testing.assert_array_equal(source.labels, [0, 2])

    def test_a_list_as_other_programs_write_it(self, tmp_path):
        """With a byte-order mark, ./ before each path, \\r\\n at each end, and a name that holds U+2028 and U+0085."""
        _write_folder(tmp_path)
        image = tmp_path / "train/ant/0.png"
        image.rename(image.with_name("a\u2028b\x85c.png"))
        lines = ["./train/ant/a\u2028b\x85c.png 0", "./cow/1.JPEG 2", "train/bee/0.png 1"]
        text = "\ufeff" + "".join(f"{line}\r\n" for line in lines)
        (tmp_path / "train_list.txt").write_bytes(text.encode())
        source = _open("folder", path=tmp_path)
        assert source.paths == ["ant/a\u2028b\x85c.png", "cow/1.JPEG", "bee/0.png"]
        np.testing.assert_array_equal(source.labels, [0, 2, 1])

    def test_a_list_that_cannot_be_read(self, tmp_path, monkeypatch):
        _write_folder(tmp_path)
        (tmp_path / "train_list.txt").write_text("cow/1.JPEG 2\n")

        def refused(*arguments, **options):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr("pathlib.Path.read_text", refused)
        with pytest.raises(
            RequestError, match=r"train_list\.txt cannot be read \(Permission denied"
        ):
            _open("folder", path=tmp_path)

    @pytest.mark.parametrize("line", ["cow/1.JPEG 3", "cow/1.JPEG", "cow/1.JPEG x"])
    def test_bad_list_line(self, tmp_path, line):
        _write_folder(tmp_path)
        (tmp_path / "val_list.txt").write_text(f"ant/0.png 0\n{line}\n")
        with pytest.raises(RequestError, match="val_list.txt, line 2: got"):
            _open("folder", "eval", tmp_path)

    def test_no_path_tells_how_to_get_imagenet(self):
        with pytest.raises(
            RequestError, match=r"ILSVRC2012_img_train.tar(.|\n)*configs/imagenet.py:smoke"
        ):
            _open("folder")

    def test_a_recipe_for_own_images_tells_how_to_sort_them(self, tmp_path):
        advice = r"(.|\n)*DIR/CLASS/\*\.jpg(.|\n)*configs/finetune\.py:smoke"
        with pytest.raises(RequestError, match=r"needs data\.path" + advice) as raised:
            _open("folder", eval_fraction=0.2)
        assert "ImageNet" not in str(raised.value)
        with pytest.raises(RequestError, match="none' is no directory" + advice):
            _open("folder", path=tmp_path / "none", eval_fraction=0.2)

    def test_missing_folder(self, tmp_path):
        with pytest.raises(RequestError, match=r"has no folder train/\.\nImageNet"):
            _open("folder", path=tmp_path)

    @pytest.mark.parametrize("split", ["train", "eval"])
    def test_class_folders_alone_need_a_fraction(self, tmp_path, split):
        _write_folder(tmp_path)
        with pytest.raises(RequestError) as raised:
            _open("folder", split, tmp_path / "train")
        assert str(raised.value) == (
            f"data.path='{tmp_path / 'train'}' has no folder {'val' if split == 'eval' else 'train'}/.\n"
            "If the folders there are the classes, say what share of each to evaluate with:\n"
            "--config.data.eval_fraction=0.2, or of pack and benchmark --eval-fraction=0.2."
        )

    def test_empty_folder(self, tmp_path):
        (tmp_path / "train").mkdir()
        with pytest.raises(RequestError, match="train is empty"):
            _open("folder", path=tmp_path)

    def test_an_undivided_folder_is_split_by_class(self, tmp_path):
        _write_folder(tmp_path / "divided", per_class=5)
        undivided = tmp_path / "divided" / "train"
        splits = [
            _open("folder", split, undivided, eval_fraction=0.4) for split in ("train", "eval")
        ]
        assert [np.bincount(source.labels).tolist() for source in splits] == [[3] * 3, [2] * 3]
        assert [source.class_names for source in splits] == [("ant", "bee", "cow")] * 2
        train, test = (set(source.paths) for source in splits)
        assert len(train | test) == 15
        divided = _open("folder", "eval", tmp_path / "divided", eval_fraction=0.4)
        assert len(divided) == 15

    @pytest.mark.parametrize("fraction", [0.0, 0.4])
    def test_two_lists_say_all_of_an_undivided_folder(self, tmp_path, fraction):
        """Nothing of them is left out, and their labels need not come in order."""
        _write_folder(tmp_path)
        root = (tmp_path / "train").rename(tmp_path / "ant")  # named as a class is
        lists = {
            "train": [("cow/1.JPEG", 2), ("ant/0.png", 0), ("cow/2.JPEG", 2), ("ant/2.JPEG", 0)],
            "val": [("bee/1.JPEG", 1), ("ant/1.JPEG", 0)],
        }
        for name, lines in lists.items():
            text = "".join(f"{path} {label}\n" for path, label in lines)
            (root / f"{name}_list.txt").write_text(text)
        for split, name in [("train", "train"), ("eval", "val")]:
            source = _open("folder", split, root, eval_fraction=fraction)
            assert list(zip(source.paths, source.labels, strict=True)) == lists[name]
            assert source[0]["image"] == (root / source.paths[0]).read_bytes()

    @pytest.mark.parametrize(("there", "wanting"), [("train", "val"), ("val", "train")])
    @pytest.mark.parametrize("split", ["train", "eval"])
    def test_one_list_of_an_undivided_folder_is_refused(self, tmp_path, there, wanting, split):
        _write_folder(tmp_path)
        (tmp_path / "train" / f"{there}_list.txt").write_text("ant/0.png 0\n")
        with pytest.raises(RequestError) as raised:
            _open("folder", split, tmp_path / "train", eval_fraction=0.4)
        assert str(raised.value) == (
            f"{tmp_path / 'train'} has {there}_list.txt but no {wanting}_list.txt, so nothing says which images are "
            f"the other split's; write {wanting}_list.txt too, or remove {there}_list.txt to have each class divided "
            "by data.eval_fraction=0.4."
        )

    def test_beside_train_and_val_a_list_is_of_its_folder(self, tmp_path):
        _write_folder(tmp_path)
        (tmp_path / "train_list.txt").write_text("cow/1.JPEG 2\nant/0.png 0\n")
        train, test = (
            _open("folder", split, tmp_path, eval_fraction=0.4) for split in ("train", "eval")
        )
        assert train.paths == ["cow/1.JPEG", "ant/0.png"]
        assert len(test) == 9
        shutil.rmtree(tmp_path / "val")
        with pytest.raises(RequestError, match=r"has no folder val/\."):
            _open("folder", "eval", tmp_path, eval_fraction=0.4)

    @pytest.mark.parametrize(
        ("split", "per_class", "fraction", "text"),
        [
            ("eval", 2, 0.2, "2, 0.2 of which rounds to 0, so that none is left to evaluate with."),
            ("train", 1, 0.5, "1, 0.5 of which rounds to 1, so that none is left to train on."),
        ],
    )
    def test_too_few_images_a_class_to_divide(self, tmp_path, split, per_class, fraction, text):
        _write_folder(tmp_path, per_class=per_class)
        with pytest.raises(RequestError) as raised:
            _open("folder", split, tmp_path / "train", eval_fraction=fraction)
        advice = {"eval": "Add images, or use at least 0.25.", "train": "Add images, or use less."}
        assert str(raised.value) == (
            f"{tmp_path / 'train'} has too few images a class for data.eval_fraction={fraction}: at most {text} "
            f"{advice[split]}"
        )

    def test_a_class_of_which_none_is_left_to_train_on(self, tmp_path):
        _write_folder(tmp_path, per_class=3)
        for name in ("bee", "cow"):
            for number in (1, 2):
                (tmp_path / "train" / name / f"{number}.JPEG").unlink()
        with pytest.raises(RequestError) as raised:
            _open("folder", path=tmp_path / "train", eval_fraction=0.5)
        assert str(raised.value) == (
            f"2 class folders in {tmp_path / 'train'} have too few images for data.eval_fraction=0.5, so that none is "
            "left to train on: bee, cow. Add images, or use less."
        )

    @pytest.mark.parametrize(
        ("fraction", "counts"), [(0.2, (0, 0, 1, 1, 2)), (0.5, (1, 1, 2, 3, 5))]
    )
    def test_held_out_is_a_rounded_share_of_each_class(self, fraction, counts):
        sizes = (1, 2, 3, 5, 10)
        labels = np.repeat(np.arange(5), sizes)
        assert tuple(np.bincount(labels, held_out(labels, fraction))) == counts

    def test_empty_class_folders(self, tmp_path):
        (tmp_path / "train" / "ant").mkdir(parents=True)
        with pytest.raises(RequestError, match="has class folders but no image"):
            _open("folder", path=tmp_path)

    def test_hidden_folders_are_no_classes(self, tmp_path):
        _write_folder(tmp_path)
        for folder in ("train", "val"):
            hidden = tmp_path / folder / ".ipynb_checkpoints"
            hidden.mkdir()
            (hidden / "0.png").write_bytes((tmp_path / folder / "ant/0.png").read_bytes())
        source = _open("folder", path=tmp_path)
        assert source.class_names == ("ant", "bee", "cow")
        assert len(source) == 9

    @pytest.mark.parametrize("fraction", [0.0, 0.5])
    def test_a_class_without_a_training_image_is_refused(self, tmp_path, fraction):
        """As torchvision does: the empty folder would be one class more."""
        _write_folder(tmp_path)
        for name in ("__MACOSX", "dog"):
            (tmp_path / "train" / name).mkdir()
        path = tmp_path / "train" if fraction else tmp_path
        with pytest.raises(RequestError) as raised:
            _open("folder", path=path, eval_fraction=fraction)
        assert str(raised.value) == (
            f"2 of the 5 class folders in {tmp_path / 'train'} hold no image (.jpeg, .jpg, .png): __MACOSX, dog. "
            "Remove them, or put their images there."
        )

    def test_a_class_may_lack_evaluation_images(self, tmp_path, caplog):
        _write_folder(tmp_path)
        for split in ("train", "val"):
            (tmp_path / split / "dog").mkdir()
        shutil.copy(tmp_path / "train/ant/0.png", tmp_path / "train/dog/0.png")
        assert _open("folder", path=tmp_path).class_names == ("ant", "bee", "cow", "dog")
        assert caplog.text == ""
        source = _open("folder", "eval", tmp_path)
        assert source.class_names == ("ant", "bee", "cow", "dog")
        assert (
            f"1 of the 4 class folders in {tmp_path / 'val'} hold no image (.jpeg, .jpg, .png): dog. Nothing is "
            "measured on them." in caplog.text
        )

    def test_flat_validation_folder_tells_how_to_sort(self, tmp_path):
        _write_folder(tmp_path)
        for folder in ("ant", "bee", "cow"):
            for file in (tmp_path / "val" / folder).iterdir():
                file.rename(tmp_path / "val" / f"{folder}-{file.name}")
            (tmp_path / "val" / folder).rmdir()
        with pytest.raises(
            RequestError, match="no class folders, so their classes are unknown. Move each"
        ):
            _open("folder", "eval", tmp_path)


class TestSynthetic:
    def test_length_and_labels(self):
        train, test = _open("synthetic"), _open("synthetic", "eval")
        assert (len(train), len(test)) == (40, 10)
        assert train.labels.max() < 10
        assert not np.array_equal(train.images[:10], test.images[:10])

    def test_long_data_sets_repeat_a_pool(self):
        source = _open("synthetic", synthetic_examples=1_281_167, image_size=8)
        assert len(source) == 1_281_167
        images, labels = source.gather(np.array([5, 5 + 256, 1_281_166]))
        np.testing.assert_array_equal(images[0], images[1])
        assert labels[0] == labels[1] == source[5]["label"]
