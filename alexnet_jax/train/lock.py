"""One run at a time in a workdir: a file that names the host and the process that holds it.

On one host the operating system knows whether the holder lives: the file is locked (``flock``), and the lock ends with
its process. Another host cannot be asked, so the holder renews the file's time, and a file that has not been renewed
for ``STALE_SECONDS``, by the file system's own clock, is of a dead process.
"""

import contextlib
import fcntl
import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from alexnet_jax.errors import RequestError

FILE = "lock.json"
RENEW_SECONDS = 10
STALE_SECONDS = 60


@contextlib.contextmanager
def hold(workdir: Path) -> Iterator[str]:
    """Holds a workdir, made if need be, for one run; one that was made and stayed empty is removed again.

    Yields:
      What to say of a dead run whose lock was taken over; empty where there was none.

    Raises:
      RequestError: If another run holds it, or nothing can be written there.
    """
    path = workdir / FILE
    made = not workdir.exists()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file, before = _open(path)
        me = {"host": platform.node(), "process_id": os.getpid()}
        os.ftruncate(file, 0)
        os.pwrite(file, (json.dumps(me) + "\n").encode(), 0)
    except OSError as error:
        raise RequestError(
            f"--workdir {workdir} cannot be written to ({error.strerror}); choose another, or mend it."
        ) from error
    done = threading.Event()
    renewal = threading.Thread(
        target=_renew, args=(workdir, file, me, done), name="lock", daemon=True
    )
    renewal.start()
    try:
        yield f"took over {workdir} from {_name(before)}, which is dead" if before else ""
    finally:
        done.set()
        renewal.join()
        # On a disk that has become read-only the file stays; the lock on it ends with the process.
        with contextlib.suppress(OSError):
            if _holder(file) == me:
                path.unlink()
        os.close(file)
        if made:
            with contextlib.suppress(OSError):  # not empty: the run has begun
                workdir.rmdir()


@contextlib.contextmanager
def hold_together(workdir: Path) -> Iterator[str]:
    """As ``hold``, by the first process of a job; where it is refused, the others end too."""
    with contextlib.ExitStack() as stack:
        message, refusal = "", None
        if jax.process_index() == 0:
            try:
                message = stack.enter_context(hold(workdir))
            except RequestError as error:
                refusal = error
        if jax.process_count() > 1:
            refused = multihost_utils.broadcast_one_to_all(np.int32(refusal is not None))
            if refused and refusal is None:
                refusal = RequestError(f"the job's first process cannot have {workdir}.")
        if refusal is not None:
            raise refusal
        yield message


def refuse_if_held(workdir: Path) -> None:
    """Looks, before anything slow, whether another run holds the workdir; changes nothing.

    Raises:
      RequestError: If one does.
    """
    path = workdir / FILE
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:  # none, or none that can be read: ``hold`` says so
        return
    try:
        _refuse_or_read(path, file, fcntl.LOCK_SH)  # shared: those that only look do not meet
    finally:
        os.close(file)


def _open(path: Path) -> tuple[int, dict[str, Any]]:
    """Opens and locks the file, and returns it with its dead holder; makes sure that it was not removed meanwhile."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            before = _refuse_or_read(path, file, fcntl.LOCK_EX)
            if path.exists() and os.stat(path).st_ino == os.fstat(file).st_ino:
                return file, before
        except BaseException:
            os.close(file)  # with it goes the lock
            raise
        os.close(file)


def _refuse_or_read(path: Path, file: int, kind: int) -> dict[str, Any]:
    """Returns the dead holder that an open file names, empty for none.

    Raises:
      RequestError: If the holder lives.
    """
    holder = _holder(file)
    here = holder.get("host") == platform.node()
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        held = False
    except BlockingIOError:
        held = True
    except OSError:  # a file system without locks
        held = here and _is_alive(holder["process_id"])
    elsewhere = bool(holder) and not here
    if held or (elsewhere and _age(path, file) < STALE_SECONDS):
        after = (
            f"if it is dead, this workdir is free {STALE_SECONDS} seconds after its last sign of life"
            if elsewhere
            else "stop it first"
        )
        raise RequestError(
            f"{path.parent} is in use by {_name(holder)}; choose another --workdir, or {after}."
        )
    return {} if here and holder["process_id"] == os.getpid() else holder


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process_id != os.getpid()


def _holder(file: int) -> dict[str, Any]:
    """Returns whom the file names; nothing where it is empty or was cut off."""
    try:
        holder = json.loads(os.pread(file, 4096, 0))
        return {"host": str(holder["host"]), "process_id": int(holder["process_id"])}
    except (ValueError, TypeError, KeyError):
        return {}


def _age(path: Path, file: int) -> float:
    """Returns the seconds since the file was renewed, by the clock of its file system if that can be asked."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".clock-") as probe:
            now = os.fstat(probe.fileno()).st_mtime
    except OSError:
        now = time.time()
    return now - os.fstat(file).st_mtime


def _renew(workdir: Path, file: int, me: dict[str, Any], done: threading.Event) -> None:
    while not done.wait(RENEW_SECONDS):
        with contextlib.suppress(OSError):  # a full or read-only disk; the lock itself stays
            holder = _holder(file)
            if holder == me:
                os.utime(file)
            elif holder:  # empty: another one is writing its name
                _end_as_taken_over(workdir, holder)


def _end_as_taken_over(workdir: Path, holder: dict[str, Any]) -> NoReturn:
    """Ends a run that was silent for so long that another host has taken its workdir: two would spoil it."""
    text = (
        f"{workdir} was taken over by {_name(holder)}, as this run gave no sign of life for {STALE_SECONDS} seconds; "
        "it ends, and its checkpoints remain.\n"
    )
    os.write(2, text.encode())
    os._exit(1)


def _name(holder: dict[str, Any]) -> str:
    if not holder:
        return "another run"
    return f"process {holder['process_id']} on {holder['host']}"
