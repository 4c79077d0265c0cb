"""What a run shows while it trains: a progress bar on a terminal, plain lines elsewhere."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from alexnet_jax.train.metrics import CLASSES_ALL_IN_TOP5, Averages, wilson_interval


class RunConsole:
    """Prints to standard output; ``with`` shows the bar, if there is a terminal to show it on."""

    def __init__(self, total_steps: int, start_step: int, *, quiet: bool = False):
        self._console = Console(highlight=False, emoji=False, soft_wrap=True, quiet=quiet)
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]:.1f}"),
            BarColumn(),  # alone gives way on a narrow terminal
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task(
            "train", total=total_steps, completed=start_step, epoch=0.0, figures=""
        )

    def __enter__(self) -> "RunConsole":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def step(self, step: int, epoch: float) -> None:
        """Moves the bar."""
        self._progress.update(self._task, completed=step, epoch=epoch)

    def train(self, record: dict[str, Any]) -> None:
        """Shows a training record."""
        figures = f"loss={record['loss']:.4f} top1={record['top1']:.4f} images/s={record['images_per_second']:.0f}"
        wait = f"{record['input_wait_fraction']:.0%}"
        if self._console.is_terminal:
            self._progress.update(self._task, figures=f"{figures} wait={wait}")
        else:
            rate = f"input_wait={wait} learning_rate={record['learning_rate']:.5g}"
            self.say(f"train step={record['step']} epoch={record['epoch']:.2f} {figures} {rate}")

    def say(self, text: str) -> None:
        """Prints a line above the bar, as it is."""
        self._console.print(text, markup=False)


def print_results(
    final: Averages,
    images_per_second: float | None,
    published: Mapping[str, Any],
    num_classes: int,
) -> None:
    """Prints the results of a finished run, beside its publisher's where the recipe has them.

    Args:
      final: The last evaluation.
      images_per_second: Of training; None where nothing was left to train.
      published: The settings ``published``.
      num_classes: Where they are five or fewer, top5 says nothing and is left out.
    """
    low, high = wilson_interval(final.top1, final.num_examples)
    ours = {
        "top1": f"{final.top1:.2%} ({low:.2%} to {high:.2%})",
        "top5": f"{final.top5:.2%}" if num_classes > CLASSES_ALL_IN_TOP5 else "",
        "images_per_second": f"{images_per_second:,.0f}" if images_per_second else "",
    }
    forms = {"top1": "{:.2%}", "top5": "{:.2%}", "images_per_second": "{:,.0f}"}
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("this run")
    if published["source"]:
        table.add_column("published", overflow="fold")
    for name, text in ours.items():
        figure = published[name]
        theirs = [forms[name].format(figure) if figure else ""] if published["source"] else []
        if text or any(theirs):
            table.add_row(name.replace("_per_second", "/s"), text, *theirs)
    if published["source"]:
        table.caption = Text(f"published: {published['source']}")
    Console(highlight=False, emoji=False).print(table, markup=False)


def eval_line(step: int, averages: Averages) -> str:
    """Returns the line that reports an evaluation."""
    return (
        f"eval step={step} loss={averages.loss:.4f} top1={averages.top1:.4f} top5={averages.top5:.4f} "
        f"n={averages.num_examples}"
    )
