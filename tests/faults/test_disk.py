"""A disk that is full, or has become read-only, while a run saves: for two saves, and for ever."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import disks, harness

_PRIVATE = ["unshare", "--map-root-user", "--mount"]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux"
    or subprocess.run([*_PRIVATE, "true"], capture_output=True, check=False).returncode != 0,
    reason="needs Linux, and the right to make a mount name space",
)

REASONS = {"full": "No space left on device", "read-only": "Read-only file system"}
FULL_FOR_A_WHILE = [name for name in disks.CASES if name.startswith("full but")]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Where every case left what it printed and what became of it; the runs are one process, for its start is slow."""
    out = tmp_path_factory.mktemp("disks")
    run = subprocess.run(
        [*_PRIVATE, sys.executable, "-m", "tests.faults.disks", out],
        capture_output=True,
        text=True,
        env=harness.environment(),
        timeout=harness.count(300, 900),
        check=False,
    )
    logs = "".join(path.read_text() for path in sorted(out.glob("*.log")))
    assert run.returncode == 0, run.stdout + run.stderr + logs
    harness.assert_no_traceback(run.stdout + run.stderr + logs)
    return out


def _read(results: Path, name: str) -> tuple[dict, str]:
    result = json.loads((results / f"{name}.json").read_text())
    assert [r["step"] for r in result["records"] if r["split"] == "train"] == list(range(1, 25))
    assert [r["step"] for r in result["records"] if r["split"] == "eval"] == [12, 24]
    assert result["step"] == 24  # a sound checkpoint, by its sums
    assert result["files"] == [
        *("checkpoints", "classes.json", "config.json", "metrics.jsonl", "run.json", "tensorboard"),
    ]
    return result, (results / f"{name}.log").read_text()


@pytest.mark.parametrize("name", [*REASONS, *FULL_FOR_A_WHILE])
def test_saves_fail_and_the_run_goes_on(results, name):
    result, output = _read(results, name)
    assert result["statuses"] == [0]
    reason = REASONS[name.partition(" ")[0]]
    for step, number in ((12, 1), (16, 2)):
        text = f"save of step {step} failed ({number} in a row; 5 are borne): {reason}\n"
        assert output.count(text) == 1
    assert output.count("save of step") == 2
    assert result["checkpoints"] == ["20", "24"]
    assert output.splitlines()[-1].startswith("eval step=24 ")
    # What was written after the fault can be read.
    assert set(result["event_steps"]) >= {*range(1, 12), *range(21, 25)}


@pytest.mark.parametrize("how", REASONS)
def test_too_many_failed_saves_end_the_run_and_the_earlier_checkpoint_continues(results, how):
    result, output = _read(results, f"{how} for ever")
    assert result["statuses"] == [1, 0]
    assert f"save of step 12 failed (1 in a row; 1 are borne): {REASONS[how]}\n" in output
    assert "2 saves in a row failed, more than checkpoint.max_failed_saves=1 allows: " in output
    assert "the newest checkpoint is of step 8 in " in output
    assert "continues from step 8\n" in output
    assert result["checkpoints"] == ["20", "24"]
