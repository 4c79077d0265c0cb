"""A run that stands still: every thread's stack, and what is waited for."""

import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")


class StallWatch:
    """Inside ``with``, a thread that reports when the run has not said for too long that it goes on."""

    def __init__(self, stall_seconds: float, report: Callable[[str], None]):
        """Prepares the watch.

        Args:
          stall_seconds: Without a sign of life; 0 for never.
          report: Called, in the watching thread, with a sentence that says what is waited for.
        """
        self._seconds, self._report = stall_seconds, report
        self._waits_for, self._since = "the start", time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall", daemon=True)

    def __enter__(self) -> "StallWatch":
        if self._seconds:
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        if self._seconds:
            self._thread.join()

    def waits_for(self, what: str) -> None:
        """Says that the run goes on, and what it waits for now."""
        self._waits_for, self._since = what, time.monotonic()

    def each(self, items: Iterator[_Item], what: str) -> Iterator[_Item]:
        """Yields the items; each is a sign of life."""
        for item in items:
            self.waits_for(what)
            yield item

    def _watch(self) -> None:
        told_of = None
        while not self._done.wait(self._seconds / 4):
            since = self._since
            if time.monotonic() - since < self._seconds or told_of == since:
                continue
            told_of = since
            text = f"no sign of life for {self._seconds:g} s: the run waits for {self._waits_for}"
            print(f"{text}. The stack of every thread:", file=sys.stderr, flush=True)
            faulthandler.dump_traceback(sys.stderr.fileno())
            self._report(text)
