"""One line tells of a failed save; Orbax's threads would add a traceback each, and some would wait on.

Nor does it tell that a save waited for the one before: the run card has the seconds that checkpoints took.
"""

import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from orbax.checkpoint._src.futures import future

JOIN_SECONDS = 10.0  # for a thread of a failed save to end
# Of checkpoints that were not evaluated, and of those that the next one had to wait for.
NO_FAULTS = ("Requested `tracked_metric`", "Waiting for previous save to complete")
LOGGERS = ("absl", "asyncio", "concurrent.futures")


def quiet_background_errors() -> None:
    """Drops what Orbax prints of an error that the save itself raises, and of saves that wait; once is enough."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_is_not_of_orbax)
    if not isinstance(sys.unraisablehook, _Unraisable):
        sys.unraisablehook = _Unraisable(sys.unraisablehook)


def reason(error: Exception) -> str:
    """Returns the operating system's word for an error, where it or its text has the code, or else its first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if code := re.search(r"os_error_code='(\d+)'", str(error)):
        return os.strerror(int(code[1]))
    return f"{type(error).__name__}: {error}".splitlines()[0]


def end_failed_writes() -> None:
    """Ends the threads of a save that failed, once they have nothing more to write.

    Some wait for a part that will never be done, each with a copy of the state: for ten minutes, and the process's end
    would wait for them. They are private to Orbax: a version that has none of the kind is left to end them itself.
    """
    kind = getattr(future, "_SignalingThread", ())
    threads: list[Any] = [thread for thread in threading.enumerate() if isinstance(thread, kind)]
    # Theirs, found by the garbage collector at any later time.
    warnings.filterwarnings("ignore", "coroutine '.*' was never awaited", RuntimeWarning)
    for thread in threads:
        thread._cancelled = True
    for thread in threads:
        future.set_signals(thread._receive_signals, operation_id=thread._operation_id)
    for thread in threads:
        threading.Thread.join(thread, JOIN_SECONDS)  # Orbax's own raises what the thread raised


def on_failed_write(manager: Any, act: Callable[[Exception], NoReturn]) -> None:
    """Has ``act`` called, in the thread that writes, when this process's part of a save fails.

    The process would go on to meet the others where they do not come: they wait elsewhere, for what it has not written.
    What is replaced is private to Orbax: a version without it is left to its own time limits.
    """
    checkpointer = getattr(manager, "_checkpointer", None)
    wait = getattr(checkpointer, "wait_until_finished", None)
    if checkpointer is None or wait is None:
        return

    def wait_or_act() -> None:
        try:
            wait()
        except Exception as error:
            act(error)

    checkpointer.wait_until_finished = wait_or_act


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    if record.levelno < logging.ERROR:
        return not str(record.msg).startswith(NO_FAULTS)
    error = record.exc_info[1] if record.exc_info else None
    of_orbax = (
        "orbax" in record.pathname or "orbax" in record.getMessage() or _is_through_orbax(error)
    )
    return not of_orbax and str(error) != "Event loop is closed"


def _is_through_orbax(error: BaseException | None) -> bool:
    """Returns whether an error, or one that it came of, passed through Orbax's code."""
    while error is not None:
        if any("orbax" in frame.filename for frame in traceback.extract_tb(error.__traceback__)):
            return True
        error = error.__cause__ or error.__context__
    return False


class _Unraisable:
    """Passes everything on but the writes that end after the first of them failed, and with it their event loop."""

    def __init__(self, before: Any):
        self._before = before

    def __call__(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self._before(unraisable)
