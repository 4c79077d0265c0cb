"""Files that vanish, mounts that stall and readers that fail, in real runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet_jax.train import checkpoint
from tests.faults import harness, reads


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Where every case left what it printed and what became of it."""
    out = tmp_path_factory.mktemp("reads")
    command = [sys.executable, "-m", "tests.faults.reads", out]
    run = subprocess.run(command, env=harness.environment(), timeout=300, check=False)
    logs = "".join(path.read_text() for path in sorted(out.glob("*.log")))
    harness.assert_no_traceback(logs)
    assert sorted(path.stem for path in out.glob("*.log")) == sorted(reads.CASES), logs
    assert run.returncode == 1  # of the last case, which ended it
    return out


def _read(results: Path, name: str) -> tuple[dict, str]:
    result = json.loads((results / f"{name}.json").read_text())
    return result, (results / f"{name}.log").read_text()


def test_a_file_that_vanishes_is_replaced_and_counted(results):
    result, output = _read(results, "vanish")
    assert result["status"] == 0, output
    photos = results / "photos" / "vanish"
    for name in (reads.TRAIN, reads.EVAL):
        text = f"broken image, replaced by the next readable one: {photos / name} ("
        assert output.count(text) == 1
    assert result["card"]["broken_images"] == {"train": 1, "eval": 1}


def test_too_many_vanished_files_end_the_run_and_name_them(results):
    result, output = _read(results, "vanish too many")
    assert result["status"] == 2
    assert "1 of the 16 train images cannot be read, more than" in output
    assert str(results / "photos" / "vanish too many" / reads.TRAIN) in output
    assert checkpoint.latest_step(results / "runs" / "vanish too many") >= 1


def test_a_stall_is_told_and_the_run_goes_on_as_if_nothing_had_happened(results):
    result, output = _read(results, "stall")
    assert result["status"] == 0, output
    assert "no sign of life for 0.5 s: the run waits for the input (a batch after step " in output
    assert "in read_bytes" in output  # where it hangs
    expected, _ = _read(results, "nothing")
    assert result["card"]["final"] == expected["card"]["final"]
    assert result["card"]["broken_images"] == {"train": 0, "eval": 0}


def test_a_stall_for_ever_ends_the_run_with_its_checkpoint(results):
    output = (results / "stall for ever.log").read_text()
    last = output.splitlines()[-1]
    assert last.startswith("no sign of life for 5 s, health.max_stall_seconds=5: the run ends. ")
    assert "It waited for the input (a batch after step " in last
    assert last.endswith("The last checkpoint remains; the same command continues.")
    assert not (results / "stall for ever.json").exists()  # the process is gone
    assert checkpoint.latest_step(results / "runs" / "stall for ever") >= 2


def test_an_error_in_a_reading_thread_ends_the_run(results):
    result, _ = _read(results, "fail")
    assert result["status"].startswith("RuntimeError: the reader of ")
    assert result["card"] is None
    assert not (results / "runs" / "fail" / "lock.json").exists()
