"""A run that stands still: every thread's stack, and what is waited for; in the end, the end."""

import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")


class StallWatch:
    """Inside ``with``, a thread that reports when the run has not said for too long that it goes on, and can end it.

    It counts its own waits, not a clock's time: a process that was suspended has not stalled.
    """

    def __init__(
        self, stall_seconds: float, report: Callable[[str], None], *, max_stall_seconds: float = 0
    ):
        """Prepares the watch.

        Args:
          stall_seconds: Without a sign of life; 0 for never.
          report: Called, in a thread of its own, with a sentence that says what is waited for.
          max_stall_seconds: So long without a sign of life end the process, with status 1; 0 for never.
        """
        self._seconds, self._max_seconds, self._report = stall_seconds, max_stall_seconds, report
        self._waits_for, self._signs = "the start", 0
        self._done = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "StallWatch":
        if self._seconds or self._max_seconds:
            self._start(self._watch)
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def waits_for(self, what: str) -> None:
        """Says that the run goes on, and what it waits for now."""
        self._waits_for, self._signs = what, self._signs + 1

    def each(self, items: Iterator[_Item], what: str) -> Iterator[_Item]:
        """Yields the items; each is a sign of life."""
        for item in items:
            self.waits_for(what)
            yield item

    def _start(self, function: Callable[..., None], *arguments: str) -> None:
        thread = threading.Thread(target=function, args=arguments, name="stall", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _watch(self) -> None:
        pause = min(seconds for seconds in (self._seconds, self._max_seconds) if seconds) / 4
        signs, silent, told = self._signs, 0.0, False
        while not self._done.wait(pause):
            if self._signs != signs:
                signs, silent, told = self._signs, 0.0, False
                continue
            silent += pause
            ends = 0 < self._max_seconds <= silent
            if not told and (ends or 0 < self._seconds <= silent):
                told = True
                self._tell(silent)
            if ends:
                self._end(silent)

    def _tell(self, silent: float) -> None:
        text = f"no sign of life for {silent:g} s: the run waits for {self._waits_for}"
        print(f"{text}. The stack of every thread:", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(sys.stderr.fileno())
        self._start(self._report, text)  # it writes, perhaps to what hangs

    def _end(self, silent: float) -> None:
        text = (
            f"no sign of life for {silent:g} s, health.max_stall_seconds={self._max_seconds:g}: the run ends. It "
            f"waited for {self._waits_for}. The last checkpoint remains; the same command continues."
        )
        print(text, file=sys.stderr, flush=True)
        sys.stdout.flush()
        # What hangs cannot be interrupted, and the interpreter's own end would wait for it.
        os._exit(1)
