"""A run repeated from its run card."""

import json
import shutil
import subprocess
import sys

from tests.faults import harness


def _reproduce(directory, *arguments) -> subprocess.CompletedProcess:
    script = ["bash", str(harness.ROOT / "scripts/reproduce.sh"), *arguments]
    environment = {**harness.environment(), "PYTHON": sys.executable}
    return subprocess.run(
        script, capture_output=True, text=True, env=environment, cwd=directory, check=False
    )


def test_a_run_is_repeated_to_the_last_digit_and_a_difference_is_found(tmp_path, uninterrupted):
    directory = tmp_path / """Alex's "run" """
    directory.mkdir()
    card = directory / "run.json"
    shutil.copy(uninterrupted / "run.json", card)
    run = _reproduce(directory, "run.json")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "the same to the last digit"
    again = tmp_path / f"{directory.name}-again"  # beside the run
    assert (again / "run.json").is_file()
    assert [path.name for path in directory.iterdir()] == ["run.json"]
    assert _reproduce(directory, "run.json").returncode == 2  # it exists
    assert _reproduce(tmp_path, "none.json", "other").returncode == 2
    changed = json.loads(card.read_text())
    changed["final"]["loss"] += 1e-9
    card.write_text(json.dumps(changed))
    shutil.rmtree(again)
    assert _reproduce(tmp_path, str(card), again.name).returncode == 1
    assert (again / "run.json").is_file()
