"""Where the time of a run goes."""

import contextlib
import time
from collections.abc import Iterator

# What is measured apart; the rest of the time is "step".
PARTS = ("start", "compile", "input_wait", "evaluation", "checkpoint")


class Clock:
    """Splits the time since it was made into ``PARTS`` and the rest."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds = dict.fromkeys(PARTS, 0.0)

    @contextlib.contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Counts the time inside the block to ``part``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - start

    def split_seconds(self) -> dict[str, float]:
        """Returns the seconds of every part, of "step", and in "total"."""
        total = time.perf_counter() - self._start
        step = total - sum(self._seconds.values())
        return {**self._seconds, "step": step, "total": total}


class Meter:
    """Images per second and the share of time spent waiting for input, over a window of training steps."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Begins a window."""
        self._before = self._clock.split_seconds()

    def read(self, images: int) -> tuple[float, float]:
        """Returns (images per second, input-wait fraction) of the window in which ``images`` were trained on.

        Compilation, evaluation and checkpoints do not count.
        """
        now = self._clock.split_seconds()
        step, wait = (now[part] - self._before[part] for part in ("step", "input_wait"))
        seconds = max(step + wait, 1e-9)
        return images / seconds, wait / seconds
