"""Files that vanish and mounts that fail while a run reads them."""

import errno
import re
from pathlib import Path

import pytest

from alexnet_jax.data import broken
from alexnet_jax.data.broken import BrokenImages
from alexnet_jax.data.sources import tfds
from alexnet_jax.data.sources.base import Source
from alexnet_jax.errors import RequestError
from tests.data.array_records import write_dataset
from tests.data.folders import source_settings
from tests.data.photos import encode, jpeg, photo


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(broken, "RETRY_SECONDS", (0.0, 0.0, 0.0))


def _failing(times: int, code: int):
    """Loads, after as many failures of example 3."""
    left = [times]

    def load(index: int) -> int:
        if index == 3 and left[0]:
            left[0] -= 1
            raise OSError(code, "failed")
        return index

    return load


@pytest.mark.parametrize("times", [1, 3])
def test_a_read_that_fails_for_a_moment_is_tried_again(times):
    images = BrokenImages("train", 10, 0.0)
    assert images.first_readable([], 3, _failing(times, errno.EIO)) == 3
    assert (images.count, images.retries) == (0, times)


def test_a_read_that_goes_on_failing_is_a_broken_image():
    images = BrokenImages("train", 10, 0.5)
    assert images.first_readable([], 3, _failing(100, errno.ESTALE)) == 4
    assert (images.count, images.retries) == (1, 3)


def test_a_vanished_file_is_replaced_at_once_and_too_many_end_the_run(caplog):
    images = BrokenImages("train", 10, 0.5)
    assert images.first_readable([], 3, _failing(100, errno.ENOENT)) == 4
    assert images.retries == 0
    assert "broken image, replaced by the next readable one: example 3" in caplog.text
    strict = BrokenImages("train", 10, 0.05)
    with pytest.raises(RequestError, match="1 of the 10 train images cannot be read, more than"):
        strict.first_readable([], 3, _failing(100, errno.ENOENT))


@pytest.mark.parametrize("kind", ["folder", "loop", "refused"])
def test_what_waiting_cannot_change_is_not_tried_again(tmp_path, kind):
    photo = tmp_path / "0.jpg"
    if kind == "folder":
        photo.mkdir()
    elif kind == "loop":
        photo.symlink_to(photo)

    def load(index: int) -> bytes:
        if kind == "refused":
            raise PermissionError(errno.EACCES, "Permission denied")
        return photo.read_bytes()

    images = BrokenImages("train", 1, 0.0)
    with pytest.raises(RequestError, match="1 of the 1 train images cannot be read"):
        images.first_readable([], 0, load)
    assert images.retries == 0


def _photos(root: Path, file_format: str = "array_record") -> tuple[Source, Path]:
    """Returns a TFDS source of seven JPEGs, nothing of which is read yet, and its file."""
    splits = {"train": [(jpeg(i), i % 2) for i in range(7)]}
    directory = write_dataset(root, splits, file_format=file_format, shards=1)
    (file,) = directory.glob("*-train.*")
    return tfds.open_for_packing(source_settings(directory), "train"), file


def _spoil(file: Path) -> None:
    """Spoils one example, somewhere in the middle of the file."""
    data = bytearray(file.read_bytes())
    place = data.find(b"photo3.jpg") if file.match("*.tfrecord-*") else len(data) // 3
    data[place - 4 : place + 4] = b"\xff" * 8
    file.write_bytes(data)


def _is_readable(source: Source, index: int) -> bool:
    try:
        return len(source[index]["image"]) > 0
    except OSError:
        return False


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_a_damaged_record_is_a_broken_image(tmp_path, file_format):
    """array_record raises RuntimeError, whatever it was; to name the example, it is read once more."""
    source, file = _photos(tmp_path, file_format)
    _spoil(file)
    first = [_is_readable(source, index) for index in range(7)].index(False)
    images = BrokenImages("train", 7, 0.5)
    expected = source[first + 1]["image"]
    assert images.first_readable(source, first, lambda i: source[i]["image"]) == expected
    assert (images.count, images.retries) == (1, 3)
    strict = BrokenImages("train", 7, 0.0)
    with pytest.raises(RequestError) as raised:
        strict.first_readable(source, first, lambda i: source[i]["image"])
    place = re.escape(f"photos/1.0.0 train, example {first} ([Errno {errno.EIO}] ")
    assert re.search(rf"\n  {place}.*\)$", str(raised.value))


def test_an_array_record_that_vanished_is_not_tried_again(tmp_path):
    source, file = _photos(tmp_path)
    file.unlink()
    images = BrokenImages("train", 7, 0.0)
    with pytest.raises(RequestError, match=r"example 3 \(\[Errno 2\] .*No such file or directory"):
        images.first_readable(source, 3, lambda i: source[i]["image"])
    assert images.retries == 0


def test_an_array_record_that_fails_for_a_moment_is_read(tmp_path, monkeypatch, caplog):
    source, file = _photos(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(broken.time, "sleep", lambda seconds: file.write_bytes(whole))
    images = BrokenImages("train", 7, 0.0)
    assert images.first_readable(source, 3, lambda i: source[i]["label"]) == 1
    assert (images.count, images.retries) == (0, 1)
    assert re.search("photos/1.0.0 train, example 3: .*; tries again", caplog.text)


def test_small_images_that_cannot_be_read_are_told_at_the_start(tmp_path):
    pngs = [(encode(photo(i, 32, 32), "PNG"), i % 2) for i in range(6)]
    directory = write_dataset(tmp_path, {"train": pngs}, shape=(32, 32, 3), shards=1)
    (file,) = directory.glob("*-train.*")
    file.write_bytes(file.read_bytes()[:50_000])
    with pytest.raises(RequestError) as raised:
        tfds.open_split(source_settings(directory), "train")
    assert re.match(
        r"photos/1\.0\.0 train, example 0, cannot be read \(.*\); copy or prepare the data set again\.$",
        str(raised.value),
    )
