"""Joining the processes of one job, through JAX's own runtime."""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import jax

from alexnet_jax.errors import RequestError

# A process that does not answer for so long is taken for dead, and the others end.
HEARTBEAT_SECONDS = 20
SHUTDOWN_SECONDS = 10

# Launchers whose jobs JAX finds out about by itself, and the variable that holds the number of processes.
LAUNCHERS = {"SLURM": "SLURM_NTASKS", "Open MPI": "OMPI_COMM_WORLD_SIZE"}


def join(coordinator: str, num_processes: int, process_id: int) -> None:
    """Joins this process to its job; does nothing for a job of one process. Call before devices are used.

    Args:
      coordinator: HOST:PORT of process 0; empty where a launcher (``LAUNCHERS``) says it.
      num_processes: Of the job; 0 where a launcher says it.
      process_id: From 0; -1 where a launcher says it.

    Raises:
      RequestError: If the three contradict each other, or the others do not come.
    """
    given = (bool(coordinator), num_processes > 0, process_id >= 0)
    if not any(given):
        if _launched_processes() > 1:
            _initialize()
        return
    if not all(given):
        raise RequestError(
            f"distributed.coordinator={coordinator!r}, distributed.num_processes={num_processes} and "
            f"distributed.process_id={process_id} go together; give all three or none."
        )
    if process_id >= num_processes:
        raise RequestError(
            f"distributed.process_id={process_id} is not in 0 to {num_processes - 1} "
            f"(distributed.num_processes={num_processes})."
        )
    if num_processes > 1:
        _initialize(coordinator, num_processes, process_id)


def check_process_count(num_processes: int) -> None:
    """Checks that the devices came up as one job of ``num_processes`` (0: as many as a launcher says).

    Raises:
      RequestError: If they did not: a platform that ignores the settings would train alone, N times.
    """
    expected = num_processes or _launched_processes()
    if jax.process_count() != expected:
        raise RequestError(
            f"the backend came up with {jax.process_count()} process(es), {expected} were asked for: its plugin "
            "ignores JAX's distributed settings. Try: one process, or the plugin's vendor."
        )


def exit_together(function: Callable[[], int]) -> int:
    """Calls ``function``; in a job of several processes, any failure ends this process at once, with status 1.

    Otherwise a process would wait at its exit for others that are dead, and then be aborted.
    """
    try:
        return function()
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        _give_up(
            f"process {jax.process_index()} of {jax.process_count()} ends: this or another one failed."
        )


def _launched_processes() -> int:
    counts = [
        int(os.environ[variable]) for variable in LAUNCHERS.values() if variable in os.environ
    ]
    return max(counts, default=1)


def _initialize(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
    except Exception as error:  # JAX raises several types
        raise RequestError(
            f"the job's processes did not find each other ({str(error).splitlines()[0]}); check "
            f"distributed.coordinator={coordinator!r} and that every process was started."
        ) from error
    _exit_instead_of_aborting()


def _exit_instead_of_aborting() -> None:
    """Ends with status 1 where JAX's runtime would abort because another process is dead."""
    handler_type = ctypes.CFUNCTYPE(None, ctypes.c_int)
    handler = handler_type(lambda _: _give_up("another process of the job is dead."))
    _KEPT.append(handler)  # the C library keeps only its address
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, handler_type]
    libc.signal.restype = ctypes.c_void_p
    libc.signal(signal.SIGABRT, handler)


_KEPT: list[object] = []


def _give_up(reason: str) -> NoReturn:
    print(reason, file=sys.stderr, flush=True)
    os._exit(1)
