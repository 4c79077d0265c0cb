"""Writes one self-contained page about a run, or about several side by side."""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from alexnet_jax.errors import RequestError, writing

EXAMPLE = "example: python -m alexnet_jax report runs/digits --out digits.html"
NEEDED = ("jinja2", "matplotlib")
SHOWN = (  # on every page; every version wrote them
    *("model.variant", "model.num_classes", "data.source", "data.path"),
    *("num_epochs", "batch_size", "seed"),
)


def main(arguments: Sequence[str]) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_jax report", description=__doc__, epilog=EXAMPLE
    )
    parser.add_argument(
        "workdir", nargs="+", type=Path, help="a run's; of several, their curves overlay"
    )
    parser.add_argument("--out", type=Path, help="default: WORKDIR/report.html, of the first")
    parser.add_argument(
        "--no-evaluation",
        action="store_true",
        help="leave out what needs the data: mistakes and examples",
    )
    options = parser.parse_args(arguments)
    out = options.out or options.workdir[0] / "report.html"
    evaluations = write(options.workdir, out, evaluate=not options.no_evaluation)
    print(f"report: {out}, {out.stat().st_size / 1000:.0f} kB; open it in a browser")
    for line in evaluations:
        print(line)
    return 0


def write(workdirs: Sequence[Path], out: Path, *, evaluate: bool) -> list[str]:
    """Writes the page about ``workdirs`` to ``out``.

    Returns:
      The line of each run that was evaluated again, as the run itself printed it.

    Raises:
      RequestError: If a workdir is no run, the page cannot be written there, or a package is missing.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise RequestError(
            f"report needs {' and '.join(missing)}; pip install -e '.[report]' in the checkout."
        )
    from alexnet_jax.backend import compilation_cache
    from alexnet_jax.backend.activate import activate
    from alexnet_jax.config import default_config
    from alexnet_jax.report.examination import examine
    from alexnet_jax.report.page import render
    from alexnet_jax.report.records import read_runs
    from alexnet_jax.train.console import eval_line
    from alexnet_jax.train.settings import require
    from alexnet_jax.train.writers import CONFIG_FILE

    runs = read_runs(workdirs)
    for run in runs:
        require(run.settings, SHOWN, run.workdir / CONFIG_FILE)
    if not out.parent.is_dir():
        raise RequestError(f"--out={out}: there is no directory {out.parent}; make it first.")
    compilation_cache.enable(default_config().compilation_cache)
    (device, *_) = activate("auto", "", {})
    examinations = [examine(run, device, evaluate=evaluate) for run in runs]
    page = render(runs, examinations)
    with writing(out):
        out.write_text(page, encoding="utf-8", errors="replace")  # a file's name may be other bytes
    return [
        eval_line(seen.step, seen.predictions.averages())
        for seen in examinations
        if seen.step is not None and seen.predictions is not None
    ]
