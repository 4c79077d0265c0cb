"""Packing that was interrupted, killed or damaged half-way goes on to the same files."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import alexnet_jax
from alexnet_jax.data import pack as packing
from alexnet_jax.errors import RequestError
from tests.data.folders import open_folder, write_folder
from tests.data.packs import contents, open_packed, pack

ROOT = Path(alexnet_jax.__file__).parents[1]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    write_folder(root, per_class=8)
    return root


def _interrupt(photos, out, stop_after):
    """Packs until more than ``stop_after`` images are done; returns the request."""
    sources = {split: open_folder(photos, split) for split in ("train", "eval")}
    request = packing.Request("photos", sources, 64, 40_000, 0.001, 2)

    def interrupt(done: int, total: int) -> None:
        if done > stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packing.pack(request, out, interrupt)
    return request


def _assert_goes_on(request, directory, done_before):
    """Packs on in ``directory``/out, from so many images, to the files of an uninterrupted packing."""
    starts = []
    packing.pack(request, directory / "out", lambda done, total: starts.append(done))
    assert starts[0] == done_before
    packing.pack(request, directory / "whole", lambda done, total: None)
    assert contents(directory / "out") == contents(directory / "whole")


@pytest.mark.parametrize("stop_after", [0, 1, 5, 20, 40, 47])
def test_an_interrupted_packing_is_finished_alike(photos, tmp_path, stop_after):
    request = _interrupt(photos, tmp_path / "out", stop_after)
    assert not (tmp_path / "out" / "manifest.json").exists()
    with pytest.raises(RequestError, match=r"is no packed data set: it has no manifest\.json"):
        open_packed(tmp_path / "out")
    # whole shards, of three
    _assert_goes_on(request, tmp_path, stop_after // 16 * 16 + stop_after % 16 // 3 * 3)


def test_a_source_named_otherwise_is_the_same(photos, tmp_path):
    request = _interrupt(photos, tmp_path / "out", stop_after=9)
    _assert_goes_on(dataclasses.replace(request, name="photos/"), tmp_path, 9)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("train-00001.json", lambda data: b""),  # as a machine without power may leave it
        ("train-00001.json", lambda data: data[:-9]),
        ("train-00001.json", lambda data: b"[]"),
        ("train-00001.json", lambda data: data.replace(b'"labels": [', b'"labels": [7,')),
        ("train-00001.json", lambda data: data.replace(b'"replaced": 0', b'"replaced": "none"')),
        ("train-00001.json", lambda data: data.replace(b'"sha256": "', b'"sha256": "0')),
        ("train-00001.bin", lambda data: data[:-1]),
        ("train-00001.bin", None),
    ],
)
def test_a_shard_that_was_damaged_meanwhile_is_packed_anew(photos, tmp_path, file, damage):
    request = _interrupt(photos, tmp_path / "out", stop_after=9)
    path = tmp_path / "out" / file
    if damage:
        assert damage(path.read_bytes()) != path.read_bytes()
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    _assert_goes_on(request, tmp_path, 6)  # two of three shards of three


def test_a_killed_packing_is_finished_alike(tmp_path):
    write_folder(tmp_path / "photos", per_class=60)
    command = [sys.executable, "-m", "alexnet_jax", "pack", f"folder:{tmp_path / 'photos'}"]
    options = ["--size=400", "--shard-mebibytes=1", "--num-threads=1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, str(tmp_path / "out"), *options], env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "train-00003.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "out" / "manifest.json").exists()
    for name in ("out", "whole"):
        assert pack(command[-1], tmp_path / name, *options) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
