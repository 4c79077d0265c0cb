"""The README's recording of the quick start shows what the quick start prints."""

import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EPOCHS = 30
STEPS = 22 * EPOCHS  # 1,437 images in batches of 64


def _recording() -> list[str]:
    """Returns the lines of the recording, as a terminal showed them."""
    (text,) = re.findall(
        r"```text\n\$ bash scripts/quickstart.sh\n(.*?)```",
        (ROOT / "README.md").read_text(),
        re.DOTALL,
    )
    return text.splitlines()


def _shapes(lines: list[str]) -> list[str]:
    """Returns the lines without their figures, spaces and rules, each kind once where several follow one another."""
    shapes = [
        " ".join(re.sub(r"\d[\d,.]*(e-\d+)?", "0", line).replace("─", "").split())
        for line in lines
        if not line.startswith("train ")  # on a terminal these are the bar
    ]
    return [shape for shape, _ in itertools.groupby(shape for shape in shapes if shape != "...")]


def test_recording_is_what_is_printed(quickstart):
    """A run of three epochs prints the same lines, but for the figures."""
    script = (ROOT / "scripts" / "quickstart.sh").read_text()
    said = re.findall(r'^echo "(.*)"$', script, re.MULTILINE)
    printed = quickstart.printed.replace(f"{ROOT}/", "")
    printed = printed.replace(str(quickstart.workdir), "runs/digits")
    (more,) = re.findall(r'^  echo "(.*)"$', script, re.MULTILINE)
    more = more.replace("${python%python}", ".venv-quickstart-3.11/bin/")
    ran, report, page = printed.partition("report: ")
    shown = [*said, *ran.splitlines(), more, *f"{report}{page}".splitlines()]
    assert _shapes(_recording()) == _shapes(shown)


def test_recorded_figures_are_the_recipe_s():
    """tests/train/test_digits.py trains it whole and holds it to 0.98."""
    lines = _recording()
    assert re.fullmatch(
        rf"eval step={STEPS} loss=0\.\d{{4}} top1=(0\.9[89]\d\d|1\.0000) top5=[01]\.\d{{4}} n=360",
        lines[-1],
    )
    assert f"{STEPS} steps in {EPOCHS} epochs" in "\n".join(lines)
    steps = [int(re.search(r"step=(\d+)", line)[1]) for line in lines if line.startswith("eval")]
    assert steps[0] == STEPS // EPOCHS
    assert steps[-1] == STEPS
    assert len(lines) <= 40


def test_the_last_line_is_the_run_s(quickstart):
    """The report evaluates the newest checkpoint again, on one device, and ends as the run ended."""
    lines = quickstart.printed.splitlines()
    ran, again = (line.split() for line in lines if line.startswith("eval step=66 "))
    assert lines[-1].split() == again
    assert ran[:2] + ran[3:] == again[:2] + again[3:]
    losses = [float(words[2].removeprefix("loss=")) for words in (ran, again)]
    assert losses[0] == pytest.approx(losses[1], abs=2e-4)
