"""What a run shows while it trains: a progress bar on a terminal, plain lines elsewhere."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from alexnet_jax.train.metrics import Averages


class RunConsole:
    """Prints to standard output; ``with`` shows the bar, if there is a terminal to show it on."""

    def __init__(self, total_steps: int, start_step: int, *, quiet: bool = False):
        self._console = Console(highlight=False, soft_wrap=True, quiet=quiet)
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]:.1f}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
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
        figures = (
            f"loss={record['loss']:.4f} top1={record['top1']:.4f} "
            f"images/s={record['images_per_second']:.0f} input_wait={record['input_wait_fraction']:.0%}"
        )
        if self._console.is_terminal:
            self._progress.update(self._task, figures=figures)
        else:
            rate = f"learning_rate={record['learning_rate']:.5g}"
            self.say(f"train step={record['step']} epoch={record['epoch']:.2f} {figures} {rate}")

    def say(self, text: str) -> None:
        """Prints a line above the bar, as it is."""
        self._console.print(text, markup=False)


def eval_line(step: int, averages: Averages) -> str:
    """Returns the line that reports an evaluation."""
    return (
        f"eval step={step} loss={averages.loss:.4f} top1={averages.top1:.4f} top5={averages.top5:.4f} "
        f"n={averages.num_examples}"
    )
