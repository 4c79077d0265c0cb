"""One line tells of a failed save; Orbax's threads would add a traceback each."""

import logging
import sys
from typing import Any

LOGGERS = ("absl", "asyncio", "concurrent.futures")


def quiet_background_errors() -> None:
    """Drops what Orbax's threads print of an error that the save itself raises; once is enough."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_is_not_of_orbax)
    if not isinstance(sys.unraisablehook, _Unraisable):
        sys.unraisablehook = _Unraisable(sys.unraisablehook)


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    if record.levelno < logging.ERROR:
        return True
    of_orbax = "orbax" in record.pathname or "orbax" in record.getMessage()
    return not of_orbax and not _is_of_closed_loop(record.exc_info)


def _is_of_closed_loop(information: Any) -> bool:
    return bool(information) and str(information[1]) == "Event loop is closed"


class _Unraisable:
    """Passes everything on but the writes that end after the first of them failed, and with it their event loop."""

    def __init__(self, before: Any):
        self._before = before

    def __call__(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self._before(unraisable)
