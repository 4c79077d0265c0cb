import errno
import functools
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import alexnet_jax
from alexnet_jax.data import listing
from alexnet_jax.data.sources import folder
from alexnet_jax.errors import RequestError
from tests.data.folders import source_settings

ROOT = Path(alexnet_jax.__file__).parents[1]
NAMES = ("a", "b")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two classes of three files, old enough to be cached."""
    for name in NAMES:
        (tmp_path / "tree" / name).mkdir(parents=True)
        for number in (3, 1, 2):
            (tmp_path / "tree" / name / f"{number}.JPEG").write_bytes(b"")
        for other in ("README.txt", "._1.JPEG", ".JPEG"):  # a Mac leaves such behind
            (tmp_path / "tree" / name / other).write_bytes(b"")
        os.utime(tmp_path / "tree" / name, (1000, 1000))
    monkeypatch.setattr(listing, "CACHED_FROM", 6)
    return tmp_path / "tree"


def _scans(tree, cache, monkeypatch) -> tuple[tuple[list[str], list[int]], int]:
    """Returns a listing and how often the tree was scanned for it."""
    scans = []
    scan = listing._scan
    with monkeypatch.context() as patch:
        patch.setattr(listing, "_scan", lambda *rest: scans.append(rest) or scan(*rest))
        return listing.list_images(tree, NAMES, cache), len(scans)


def test_the_listing_is_sorted_and_kept_while_the_tree_stays(tree, tmp_path, monkeypatch):
    cache = tmp_path / "run" / "cache" / "listing.json"
    expected = [f"{name}/{number}.JPEG" for name in NAMES for number in (1, 2, 3)]
    assert _scans(tree, cache, monkeypatch) == ((expected, [0, 0, 0, 1, 1, 1]), 1)
    assert _scans(tree, cache, monkeypatch) == ((expected, [0, 0, 0, 1, 1, 1]), 0)
    assert sorted(path.name for path in cache.parent.iterdir()) == ["listing.json"]
    assert not [path for path in tree.rglob("*") if path.suffix == ".json"]


def test_a_changed_tree_is_listed_again(tree, tmp_path, monkeypatch):
    cache = tmp_path / "listing.json"
    listing.list_images(tree, NAMES, cache)
    (tree / "b" / "2.JPEG").unlink()
    (paths, labels), scans = _scans(tree, cache, monkeypatch)
    assert scans == 1
    assert paths == ["a/1.JPEG", "a/2.JPEG", "a/3.JPEG", "b/1.JPEG", "b/3.JPEG"]
    assert labels == [0, 0, 0, 1, 1]


def test_a_tree_that_may_still_change_is_not_kept(tree, tmp_path, monkeypatch):
    os.utime(tree / "a")
    listing.list_images(tree, NAMES, tmp_path / "listing.json")
    assert not (tmp_path / "listing.json").exists()


def test_short_listings_are_not_kept(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "CACHED_FROM", 7)
    listing.list_images(tree, NAMES, tmp_path / "listing.json")
    assert not (tmp_path / "listing.json").exists()


def test_a_source_keeps_it_where_it_is_told_to(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "CACHED_FROM", 1)
    tree.rename(tmp_path / "train")
    kept = source_settings(tmp_path, cache_dir=str(tmp_path / "cache"))
    assert len(folder.open_split(kept, "train")) == 6
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["train-listing.json"]


def test_another_tree_has_another_listing(tree, tmp_path, monkeypatch):
    cache = tmp_path / "listing.json"
    listing.list_images(tree, NAMES, cache)
    moved = tree.rename(tmp_path / "moved")
    assert _scans(moved, cache, monkeypatch)[1] == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "\x00" * len(text),
        lambda text: "[]",
        lambda text: "{}",
        lambda text: json.dumps(json.loads(text) | {"names": None}),
        lambda text: json.dumps(json.loads(text) | {"names": [["1.JPEG"]]}),
        lambda text: json.dumps(json.loads(text) | {"names": [[1], [2]]}),
    ],
    ids=["cut", "empty", "zeros", "list", "object", "no names", "a class short", "numbers"],
)
def test_a_damaged_cache_is_written_anew(tree, tmp_path, monkeypatch, damage):
    cache = tmp_path / "listing.json"
    expected = listing.list_images(tree, NAMES, cache)
    whole = cache.read_text()
    cache.write_text(damage(whole))
    assert _scans(tree, cache, monkeypatch) == (expected, 1)
    assert cache.read_text() == whole


def test_a_run_does_without_a_cache_that_cannot_be_kept(tree, tmp_path, monkeypatch):
    expected = listing.list_images(tree, NAMES, None)
    (tmp_path / "file").touch()
    assert listing.list_images(tree, NAMES, tmp_path / "file" / "listing.json") == expected

    def full(path, text):
        path.write_bytes(text[:10].encode())
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert listing.list_images(tree, NAMES, tmp_path / "run" / "listing.json") == expected
    assert list((tmp_path / "run").iterdir()) == []  # nor is a part of it left behind


def test_a_link_to_itself_is_no_folder(tree):
    (tree / "loop").symlink_to("loop")
    assert listing.class_folders(tree) == NAMES


def test_what_cannot_be_read_is_named(tree):
    gone, long = tree / "gone", tree / "long"
    long.symlink_to("x" * 300)
    for place, reason, look in [
        (gone, "No such file or directory", lambda: listing.class_folders(gone)),
        (gone, "No such file or directory", lambda: list(listing.images(gone))),
        (gone, "No such file or directory", lambda: listing.list_images(tree, ("gone",), None)),
        (long, "File name too long", lambda: listing.class_folders(tree)),
    ]:
        with pytest.raises(RequestError) as raised:
            look()
        assert str(raised.value) == (
            f"{place} cannot be read ({reason}); make it readable, or name another."
        )


def test_a_terminal_is_told_the_path_as_it_is(tree, monkeypatch):
    text = io.StringIO()
    console = functools.partial(Console, file=text, force_terminal=True, width=300)
    monkeypatch.setattr(listing, "Console", console)
    root = tree.rename(tree.with_name("a:cat:[b]"))
    listing.list_images(root, NAMES, None)
    assert f"listing {root}" in text.getvalue()


def test_memory_does_not_grow_with_the_folder(tmp_path):
    """A 100,000-image folder and an epoch of batches of it, within 300 MB over the start."""
    program = f"""
import os, resource
import numpy as np
from pathlib import Path
from alexnet_jax.data import pipeline, decode
from alexnet_jax.data.order import TrainOrder
from alexnet_jax.data.sources import folder
from alexnet_jax.errors import RequestError
from tests.data.folders import source_settings
root = Path({str(tmp_path)!r})
from PIL import Image
for label in range(10):
    (root / "train" / str(label)).mkdir(parents=True)
    image = root / f"{{label}}.png"
    Image.fromarray(np.full((8, 8, 3), label, np.uint8)).save(image)
    for number in range(10_000):
        os.link(image, root / "train" / str(label) / f"{{number}}.png")
settings = source_settings(root, image_size=8, num_classes=10)
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = folder.open_split(settings, "train")
order = TrainOrder(len(source), 500, 0)
count = 0
for batch in pipeline.iterate(source, order, start_step=0, stop_step=200, rows=slice(0, 500),
                              decoder=decode.squash(8, 8), seed=0, num_threads=2):
    count += len(batch["label"])
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    count, megabytes = map(int, run.stdout.split())
    assert count == 100_000
    assert megabytes < 300
