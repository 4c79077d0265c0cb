"""What falls due at which step of a run: records, evaluations, checkpoints."""

import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Agenda:
    """Pure functions of the number of steps done.

    Attributes:
      total_steps: Length of the run.
      steps_per_epoch: Of the training order.
      log_every_steps: Steps between two training records.
      eval_every_epochs: Epochs between two evaluations; 0 for only at the end.
      save_every_epochs: Epochs between two checkpoints; 0 for not by epochs.
      save_every_steps: Steps between two checkpoints; 0 for not by steps.
    """

    total_steps: int
    steps_per_epoch: int
    log_every_steps: int
    eval_every_epochs: int
    save_every_epochs: int
    save_every_steps: int

    def logs(self, done: int) -> bool:
        """Returns whether a training record is due after ``done`` steps."""
        return done % self.log_every_steps == 0

    def evaluates(self, done: int) -> bool:
        """Returns whether an evaluation is due after ``done`` steps."""
        return done == self.total_steps or self._ends_epochs(done, self.eval_every_epochs)

    def saves(self, done: int) -> bool:
        """Returns whether a checkpoint is due after ``done`` steps, whatever an evaluation says."""
        by_steps = self.save_every_steps > 0 and done % self.save_every_steps == 0
        last = done == self.total_steps
        return last or by_steps or self._ends_epochs(done, self.save_every_epochs)

    def spans(self, start_step: int, most: int) -> Iterator[tuple[int, int]]:
        """Yields (steps done before, steps done after) of the dispatches from ``start_step`` to the end.

        Nothing falls due inside one; it has at most ``most`` steps.
        """
        first = start_step
        for done in range(start_step + 1, self.total_steps + 1):
            due = self.logs(done) or self.evaluates(done) or self.saves(done)
            if due or done - first == most:
                yield first, done
                first = done

    def _ends_epochs(self, done: int, epochs: int) -> bool:
        epoch, rest = divmod(done, self.steps_per_epoch)
        return rest == 0 and epochs > 0 and epoch % epochs == 0
