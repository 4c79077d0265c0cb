"""A run repeated from its run card."""

import json
import shutil
import subprocess
import sys

from tests.faults import harness


def _reproduce(card, workdir) -> subprocess.CompletedProcess:
    script = ["bash", str(harness.ROOT / "scripts/reproduce.sh"), str(card), str(workdir)]
    environment = {**harness.environment(), "PYTHON": sys.executable}
    return subprocess.run(script, capture_output=True, text=True, env=environment, check=False)


def test_a_run_is_repeated_to_the_last_digit_and_a_difference_is_found(tmp_path, uninterrupted):
    card = tmp_path / "run.json"
    shutil.copy(uninterrupted / "run.json", card)
    run = _reproduce(card, tmp_path / "again")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "the same to the last digit"
    assert _reproduce(card, tmp_path / "again").returncode == 2  # it exists
    assert _reproduce(tmp_path / "none.json", tmp_path / "other").returncode == 2
    changed = json.loads(card.read_text())
    changed["final"]["loss"] += 1e-9
    card.write_text(json.dumps(changed))
    shutil.rmtree(tmp_path / "again")
    assert _reproduce(card, tmp_path / "again").returncode == 1
