"""What a run leaves behind while it trains: ``metrics.jsonl`` and TensorBoard events."""

import contextlib
import errno
import io
import json
import logging
import math
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.errors import RequestError, RunError, reading


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """Makes ``import torch`` fail, as where PyTorch is not installed, unless it has been imported."""
    absent = sys.modules.setdefault("torch", None) is None  # type: ignore[arg-type]
    try:
        yield
    finally:
        if absent:
            del sys.modules["torch"]


with _without_torch():  # tensorboardX would import it for a type: two seconds of every start
    from tensorboardX import SummaryWriter

_log = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
TENSORBOARD_DIRECTORY = "tensorboard"


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file at once: readers see the old or the new one, never a part.

    Raises:
      RunError: If it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_text(json.dumps(_strict(value), indent=2) + "\n")
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise RunError(
            f"{path} cannot be written ({error.strerror}). Make room or make it writable, and start again to continue."
        ) from error


def _strict(value: Any) -> Any:
    """Returns the value with None for numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _strict(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """Returns what a run wrote as JSON.

    Raises:
      RequestError: If it cannot be read, or is damaged.
    """
    with reading(path):
        text = path.read_bytes()
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: a thousand brackets
        raise RequestError(f"{path} is damaged ({error}); restore it, or run again.") from error


def read_object(path: Path) -> dict[str, Any]:
    """Returns what a run wrote as a JSON object; errors as of ``read_json``."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise damaged(path, "it holds no JSON object")
    return value


def damaged(path: Path, what: str) -> RequestError:
    """Returns what to raise where a file of a run is JSON, and not what the run wrote."""
    return RequestError(f"{path} is damaged: {what}; restore it, or run again.")


def _append(file: io.FileIO, data: bytes) -> None:
    """Writes all of ``data`` at the end of a file, or raises OSError and leaves the file as it was."""
    size = os.fstat(file.fileno()).st_size
    try:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        with contextlib.suppress(OSError):  # of a read-only disk: then nothing was written either
            os.ftruncate(file.fileno(), size)
        raise


class MetricsWriter:
    """Appends records to ``metrics.jsonl`` and their numbers to TensorBoard.

    Where there is no room, or the disk has become read-only, records are kept and written later, each try with a
    warning; TensorBoard's are dropped.
    """

    def __init__(self, workdir: Path, start_step: int, device: str):
        """Opens both, without the records after ``start_step``: that part of a killed run is trained again.

        Args:
          workdir: Of the run.
          start_step: Steps done already.
          device: What the records come from; each one names it, as a run can go on elsewhere.

        Raises:
          RequestError: If they cannot be written.
        """
        self._path, self._device = workdir / METRICS_FILE, device
        self._waiting: list[str] = []
        self._lock = threading.Lock()  # the watch for stalls writes too
        try:
            if self._path.exists():
                kept = [record for record in read_metrics(workdir) if record["step"] <= start_step]
                temporary = self._path.with_name(f"{METRICS_FILE}.tmp")
                temporary.write_text("".join(json.dumps(_strict(record)) + "\n" for record in kept))
                os.replace(temporary, self._path)
            self._file = io.FileIO(self._path, "ab")
            self._events = SummaryWriter(
                str(workdir / TENSORBOARD_DIRECTORY),
                purge_step=start_step + 1,
                write_to_disk=True,
                max_queue=0,  # unbounded: a full one would block the run
            )
            events = self._events.file_writer.event_writer._ev_writer
            with events._lock:  # its thread writes already
                events._py_recordio_writer = _WholeRecords(events._py_recordio_writer)
        except OSError as error:
            raise RequestError(
                f"--workdir {workdir} cannot be written to ({error.strerror}); choose another, or make room."
            ) from error

    def write(self, record: dict[str, Any]) -> None:
        """Adds one record; it has "step" and "split", numbers, and of the split "event" also text."""
        with self._lock:
            self._waiting.append(json.dumps(_strict(record) | {"device": self._device}) + "\n")
            self._write_waiting()
        for name, value in record.items():
            number = not isinstance(value, str) and math.isfinite(value)
            if name not in ("step", "split") and number:
                self._events.add_scalar(f"{record['split']}/{name}", value, record["step"])

    def picture(self, name: str, pixels: np.ndarray, step: int) -> None:
        """Adds a picture, uint8 [height, width, 3 or 4], to TensorBoard."""
        self._events.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Writes out what is buffered."""
        with self._lock:
            self._write_waiting()
        self._file.close()
        self._events.close()

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        try:
            _append(self._file, "".join(self._waiting).encode())
        except OSError as error:
            _log.warning(
                "%s cannot be written (%s); %d records wait",
                *(self._path, error.strerror, len(self._waiting)),
            )
        else:
            self._waiting.clear()


class _WholeRecords:
    """Stands in for tensorboardX's writer of records, whose thread would die of an error, with a traceback.

    A record is written whole or not at all: readers stop at one that was cut off, and would miss all that follow.
    """

    def __init__(self, records: Any):
        records.close()
        self._records, self._file = records, io.FileIO(records.path, "ab")
        self._failed = False

    def write(self, data: bytes) -> None:
        """Adds a record; where it cannot be written, the first time with a warning, it is lost."""
        framed = self._records._writer = io.BytesIO()
        self._records.write(data)
        try:
            _append(self._file, framed.getvalue())
        except OSError as error:
            if not self._failed:
                _log.warning("TensorBoard's events cannot be written (%s)", error.strerror)
            self._failed = True

    def flush(self) -> None:
        """Does nothing: nothing is buffered."""

    def close(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):  # a network's file system can fail here
            self._file.close()


class NoWriter:
    """Stands in for ``MetricsWriter`` in processes that do not write."""

    def write(self, record: dict[str, Any]) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Returns the records of a run's ``metrics.jsonl``, in order; NaN for what is null there.

    Lines that are no records, as the last one of a killed run can be, are left out, with a warning of how many.

    Raises:
      RequestError: If the file cannot be read.
    """
    path = workdir / METRICS_FILE
    with reading(path):
        lines = path.read_text(errors="replace").splitlines()
    records = [record for line in lines if (record := _parse(line)) is not None]
    if len(records) < len(lines):
        _log.warning("%s: %d lines are no records", path, len(lines) - len(records))
    return records


def _parse(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # RecursionError: a thousand brackets
        return None
    if not isinstance(record, dict) or not isinstance(record.get("split"), str):
        return None
    step = record.get("step")
    record = {name: math.nan if value is None else value for name, value in record.items()}
    return record if isinstance(step, int) and not isinstance(step, bool) else None
