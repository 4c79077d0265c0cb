"""A digits run of three epochs, and pages about it."""

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from alexnet_jax import __main__, main
from alexnet_jax.commands import report

ROOT = Path(__file__).parents[2]


class Quickstart(NamedTuple):
    """What a short quick start wrote, and what it printed where there is no terminal."""

    workdir: Path
    printed: str


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory) -> Quickstart:
    workdir = tmp_path_factory.mktemp("runs") / "first"
    arguments = [f"--config={ROOT}/configs/digits.py", f"--workdir={workdir}"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main.main(["main", *arguments, "--config.num_epochs=3"]) == 0
        assert __main__.main(["report", str(workdir)]) == 0
    return Quickstart(workdir, printed.getvalue())


@pytest.fixture(scope="session")
def workdir(quickstart) -> Path:
    return quickstart.workdir


def copy(workdir: Path, to: Path, **published: float | str) -> Path:
    """Copies a run, as if it were another: half the learning rate, a lower accuracy."""
    shutil.copytree(workdir, to)
    settings = json.loads((to / "config.json").read_text())
    settings["optimizer"]["learning_rate"] /= 2
    settings["published"] |= published
    (to / "config.json").write_text(json.dumps(settings))
    card = json.loads((to / "run.json").read_text())
    (to / "run.json").write_text(json.dumps(card | {"config": settings}))
    records = [json.loads(line) for line in (to / "metrics.jsonl").read_text().splitlines()]
    changed = [record | {"top1": record["top1"] / 2} for record in records]
    (to / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in changed))
    return to


class Pages(NamedTuple):
    """About one run, about two, and about one whose recipe was published."""

    one: Path
    two: Path
    published: Path


@pytest.fixture(scope="session")
def pages(workdir, tmp_path_factory) -> Pages:
    where = tmp_path_factory.mktemp("pages")
    second = copy(workdir, where / "second")
    third = copy(workdir, where / "third", source="A paper, on a device", top1=0.9, top5=0.98)
    (third / "run.json").unlink()  # as if it ran still
    pages = Pages(*(where / f"{name}.html" for name in Pages._fields))
    pages.one.write_bytes((workdir / "report.html").read_bytes())
    report.write([workdir, second], pages.two, evaluate=False)
    report.write([third], pages.published, evaluate=False)
    return pages
