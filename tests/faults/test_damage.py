"""Files of the newest checkpoint truncated, emptied, removed or with one bit flipped."""

import shutil
from pathlib import Path

import pytest

from alexnet_jax.errors import RequestError
from alexnet_jax.train import checkpoint
from tests.faults import harness
from tests.train.runs import assert_same_bits, saved_arrays

NEWEST, BEFORE = harness.STEPS, harness.STEPS - 4


def _truncate(data: bytes, draw) -> bytes:
    return data[: draw.randrange(len(data))]


def _empty(data: bytes, draw) -> bytes:
    return b""


def _flip(data: bytes, draw) -> bytes:
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def _files(workdir: Path) -> list[Path]:
    step = workdir / "checkpoints" / str(NEWEST)
    return sorted(path for path in step.rglob("*") if path.is_file() and path.stat().st_size)


@pytest.mark.parametrize("damage", [_truncate, _empty, _flip])
def test_any_damage_to_any_file_is_noticed(uninterrupted, damage, caplog):
    draw, times = harness.draw("damage"), harness.count(1, 20)
    assert checkpoint.latest_step(uninterrupted) == NEWEST
    for path in _files(uninterrupted):
        whole = path.read_bytes()
        for _ in range(1 if damage is _empty else times):
            path.write_bytes(damage(whole, draw))
            caplog.clear()
            try:
                assert checkpoint.latest_step(uninterrupted) == BEFORE, path
                assert f"checkpoints/{NEWEST} is damaged and passed over" in caplog.text
            finally:
                path.write_bytes(whole)
    assert checkpoint.latest_step(uninterrupted) == NEWEST


def test_a_damaged_checkpoint_is_set_aside_and_the_run_continues(tmp_path, uninterrupted):
    workdir = tmp_path / "run"
    shutil.copytree(uninterrupted, workdir)
    largest = max(_files(workdir), key=lambda path: path.stat().st_size)
    largest.write_bytes(_flip(largest.read_bytes(), harness.draw("aside")))
    output = harness.run(workdir)
    assert f"is damaged and set aside as {NEWEST}.damaged: state/" in output
    assert f"continues from step {BEFORE}" in output
    assert (workdir / "checkpoints" / f"{NEWEST}.damaged").is_dir()
    assert_same_bits(saved_arrays(uninterrupted, NEWEST), saved_arrays(workdir, NEWEST))


def test_where_all_are_damaged_nothing_is_touched(tmp_path, uninterrupted):
    shutil.copytree(uninterrupted / "checkpoints", tmp_path / "checkpoints")
    for metadata in tmp_path.glob("checkpoints/*/identity/metadata"):
        metadata.write_bytes(b"")
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    with pytest.raises(RequestError, match=r"every checkpoint in .* is damaged"):
        checkpoint.latest_step(tmp_path, set_aside=True)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == names
