"""Saving the training state with Orbax, in the background; what is saved is read by ``checkpoint``."""

import dataclasses
import logging
import shutil
from pathlib import Path
from typing import Any, NoReturn

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from alexnet_jax.backend import distributed
from alexnet_jax.errors import RunError
from alexnet_jax.train import checksums
from alexnet_jax.train.checkpoint import DIRECTORY, Identity, complete_steps, to_names
from alexnet_jax.train.metrics import Averages
from alexnet_jax.train.orbax_errors import (
    end_failed_writes,
    on_failed_write,
    quiet_background_errors,
    reason,
)
from alexnet_jax.train.state import TrainState

TMP_DIR_SUFFIX = ".orbax-checkpoint-tmp"  # Orbax's, of a directory that is being written

_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run, in ``WORKDIR/checkpoints/STEP``.

    Writing is asynchronous and atomic: a checkpoint has its final name only when it is complete, with the sums of its
    files in it. A save that fails is warned of, and the run goes on; too many in a row end it.
    """

    def __init__(
        self,
        workdir: Path,
        identity: Identity,
        *,
        keep: int,
        keep_best: bool,
        max_failed_saves: int = 0,
    ):
        """Opens the directory for writing, creates it, and clears away what a killed save left behind.

        Args:
          workdir: Of the run.
          identity: Of the model.
          keep: How many of the newest to keep.
          keep_best: Whether to keep, besides, the one with the highest evaluated top1.
          max_failed_saves: So many in a row are borne.
        """
        self._directory = (workdir / DIRECTORY).absolute()
        self._identity, self._keep, self._keep_best = identity, keep, keep_best
        self._max_failed_saves, self._failed_saves = max_failed_saves, 0
        self._saving: int | None = None
        quiet_background_errors()
        self._manager: ocp.CheckpointManager | None = self._open()

    def save(self, step: int, state: TrainState, metrics: Averages | None) -> None:
        """Copies the state off the devices and writes it in the background.

        Args:
          step: Steps done.
          state: To save; it may be donated once this returns.
          metrics: Of an evaluation of just this state.

        Raises:
          RunError: If more saves in a row failed than are borne.
        """
        self.wait()
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(to_names(state)),
            identity=ocp.args.JsonSave(dataclasses.asdict(self._identity)),
        )
        values = metrics._asdict() if metrics is not None else None
        try:
            if self._manager is None:
                self._manager = self._open()
            if step in self._manager.all_steps():
                return
            self._saving = step
            self._manager.save(step, args=items, metrics=values)
        except Exception as error:  # Orbax raises many types
            self._failed(step, error)

    def wait(self) -> None:
        """Waits until everything is written.

        Raises:
          RunError: If more saves in a row failed than are borne.
        """
        if self._saving is None or self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # Orbax raises many types
            self._failed(self._saving, error)
        else:
            self._complete_sums(self._saving)
            self._saving, self._failed_saves = None, 0

    def close(self) -> None:
        """Waits until everything is written, and lets go of the directory.

        Raises:
          RunError: If more saves in a row failed than are borne.
        """
        self.wait()
        if self._manager is not None:
            self._manager.close()

    def best_top1(self) -> float | None:
        """Returns the highest evaluated top1 of the checkpoints that are there; None where none was evaluated."""
        if self._manager is None or not self._keep_best:
            return None
        best = self._manager.best_step()
        metrics = None if best is None else self._manager.metrics(best)
        return None if metrics is None else float(metrics["top1"])

    def require_saved(self) -> None:
        """Waits until everything is written.

        Raises:
          RunError: If the last save failed, so that what was trained since is not there.
        """
        self.wait()
        if self._failed_saves:
            raise RunError(f"The last save failed: {self._what_is_left()}")

    def _open(self) -> ocp.CheckpointManager:
        policies: list[Any] = [checkpoint_managers.LatestN(self._keep)]
        if self._keep_best:
            policies.append(
                checkpoint_managers.BestN(
                    get_metric_fn=_top1, n=1, keep_checkpoints_without_metrics=False
                )
            )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            # Without it Orbax keeps the metrics in memory alone, and the next start would not know the best.
            best_fn=_top1 if self._keep_best else None,
            cleanup_tmp_directories=True,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._write_sums),
        )
        manager = ocp.CheckpointManager(self._directory, options=options)
        if jax.process_count() > 1:
            on_failed_write(manager, lambda error: self._end_job(self._saving, error))
        return manager

    def _write_sums(self) -> None:
        """Called by Orbax, in one process, when all files are there and before the directory gets its final name."""
        (directory,) = self._directory.glob(f"{self._saving}{TMP_DIR_SUFFIX}*")
        checksums.write(directory, without=checksums.WRITTEN_LAST)

    def _complete_sums(self, step: int) -> None:
        if jax.process_index() > 0:
            return
        try:
            checksums.complete(self._directory / str(step))
        except OSError as error:  # the checkpoint itself is there
            _log.warning("sums of step %d lack the last files (%s)", step, error.strerror)

    def _end_job(self, step: int | None, error: Exception) -> NoReturn:
        """Ends this process, and with it the job: the others wait for what it has not written."""
        distributed.give_up(
            f"save of step {step} failed in process {jax.process_index()} of {jax.process_count()}: {reason(error)}. "
            f"The job ends; {self._what_is_left()}"
        )

    def _failed(self, step: int, error: Exception) -> None:
        if jax.process_count() > 1:
            self._end_job(step, error)
        # What a failed save leaves behind is cleared away, and forgotten, by opening the directory anew.
        self._manager, self._saving = None, None
        end_failed_writes()
        self._clear_unfinished()
        self._failed_saves += 1
        _log.warning(
            "save of step %d failed (%d in a row; %d are borne): %s",
            *(step, self._failed_saves, self._max_failed_saves, reason(error)),
        )
        if self._failed_saves > self._max_failed_saves:
            raise RunError(
                f"{self._failed_saves} saves in a row failed, more than "
                f"checkpoint.max_failed_saves={self._max_failed_saves} allows: {self._what_is_left()}"
            )

    def _clear_unfinished(self) -> None:
        for path in self._directory.glob(f"*{TMP_DIR_SUFFIX}*"):
            shutil.rmtree(path, ignore_errors=True)  # it may have become read-only

    def _what_is_left(self) -> str:
        steps = complete_steps(self._directory)
        newest = f"the newest checkpoint is of step {max(steps)}" if steps else "there is none"
        return f"{newest} in {self._directory}. Make room or make it writable, and start again to continue."


def _top1(metrics: Any) -> float:
    return metrics["top1"]
