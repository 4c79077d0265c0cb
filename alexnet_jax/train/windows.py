"""Training records: the steps' sums, averaged over windows, and watched for what is not healthy."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from alexnet_jax.data.broken import describe
from alexnet_jax.train import health
from alexnet_jax.train.clock import Clock, Meter
from alexnet_jax.train.dispatch import per_step
from alexnet_jax.train.experiment import Experiment
from alexnet_jax.train.health import StuckLoss
from alexnet_jax.train.metrics import SUMS, Accumulator

HIDDEN = (*SUMS, health.NONFINITE)  # of a step's sums: not recorded as they are


class TrainReport:
    """Reads the steps' sums one dispatch late and reports their averages over windows."""

    def __init__(
        self, experiment: Experiment, clock: Clock, record: Callable[[dict[str, Any]], None]
    ):
        self._experiment, self._record = experiment, record
        self._accumulator, self._meter = Accumulator(), Meter(clock)
        self._pending: tuple[int, int, Any] | None = None
        config = experiment.config
        steps_per_epoch = experiment.train_order.steps_per_epoch
        self._stuck_loss = StuckLoss(
            experiment.identity.num_classes,
            config.schedule.warmup_epochs,
            epochs=max(1.0, health.STUCK_STEPS / steps_per_epoch),
        )
        self._stuck = ""

    def add(self, first: int, done: int, sums: Any) -> None:
        """Takes the sums of the steps just dispatched, and reads those of the dispatch before."""
        self._read()
        self._pending = (first, done, sums)

    def flush(self) -> None:
        """Reads the last dispatch, and reports the window up to it."""
        self._read(close=True)

    def restart(self) -> None:
        """Begins a window."""
        self._meter.restart()

    def take_stuck(self) -> str:
        """Returns, once, what is to be told of a loss that does not move."""
        stuck, self._stuck = self._stuck, ""
        return stuck

    def _read(self, *, close: bool = False) -> None:
        if self._pending is None:
            return
        first, done, sums = self._pending
        self._pending = None
        for at, each in enumerate(per_step(sums, done - first)):
            health.check_step(first + at + 1, each, self._experiment.initial_state.params)
            self._accumulator.add(each)
        if close or self._experiment.agenda.logs(done):
            others = {name: value.item() for name, value in each.items() if name not in HIDDEN}
            self._close_window(done, others)

    def _close_window(self, done: int, others: dict[str, float]) -> None:
        averages = self._accumulator.averages()
        rate, wait = self._meter.read(averages.num_examples)
        self._record(
            {
                "step": done,
                "split": "train",
                "loss": averages.loss,
                "top1": averages.top1,
                "top5": averages.top5,
                **others,
                "images_per_second": rate,
                "input_wait_fraction": wait,
                **broken_images(self._experiment, "train"),
            }
        )
        self._watch_loss(done, averages.loss)
        self._accumulator.reset()
        self._meter.restart()

    def _watch_loss(self, done: int, loss: float) -> None:
        epoch = done / self._experiment.train_order.steps_per_epoch
        if self._experiment.config.data.source != "synthetic":  # there is nothing to learn
            self._stuck = self._stuck_loss.add(epoch, loss) or self._stuck


def broken_images(experiment: Experiment, split: str) -> dict[str, int]:
    """Returns how many images of a split could not be read so far; nothing where none is decoded."""
    if experiment.decoders[split] is None:
        return {}
    return {"broken_images": experiment.broken[split].count}


def share_broken_images(experiment: Experiment) -> None:
    """Tells every process of a job which images the others could not read; all call it after the same step.

    Each meets its own rows of a batch only, and another's in the next epoch.

    Raises:
      RequestError: In all of them, if there are more than may be.
    """
    if jax.process_count() == 1:
        return
    for split, broken in experiment.broken.items():
        if experiment.decoders[split] is None:
            continue
        source = experiment.sources[split]
        mine = np.zeros(len(source), bool)
        mine[broken.found()] = True
        of_all = multihost_utils.process_allgather(np.packbits(mine))  # [processes, bytes]
        together = np.unpackbits(of_all, axis=1, count=len(source)).any(axis=0)
        broken.learn(
            {index: describe(source, index) for index in np.flatnonzero(together).tolist()}
        )
