"""Joining the processes of one job, through JAX's own runtime."""

import ctypes
import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Launcher:
    """What a launcher sets in each process of a job that JAX finds out about by itself.

    Attributes:
      size: The variable that holds the number of processes.
      rank: The one that holds which this is, from 0.
      others: What JAX needs besides. SLURM sets ``size`` in the shell of an allocation too, the rest only by ``srun``.
    """

    size: str
    rank: str
    others: tuple[str, ...]


# In the order in which JAX asks for them.
LAUNCHERS = (
    Launcher("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", ("OMPI_COMM_WORLD_LOCAL_RANK",)),
    Launcher(
        "SLURM_NTASKS", "SLURM_PROCID", ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_LOCALID")
    ),
)


def join(coordinator: str, num_processes: int, process_id: int) -> None:
    """Joins this process to its job; does nothing for a job of one process. Call before devices are used.

    Args:
      coordinator: HOST:PORT of process 0; empty where a launcher (``LAUNCHERS``) says it.
      num_processes: Of the job; 0 where a launcher says it. 1 alone is no job, whatever a launcher says.
      process_id: From 0; -1 where a launcher says it.

    Raises:
      RequestError: If the three contradict each other, a launcher's variable is no number, or the others do not come.
    """
    given = (bool(coordinator), num_processes > 0, process_id >= 0)
    if not any(given):
        if _launched()[0] > 1:
            _initialize()
        return
    if given == (False, True, False) and num_processes == 1:
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


def is_first(num_processes: int, process_id: int) -> bool:
    """Returns whether this is the first process of its job, or has none; asks nobody, so that it need not have joined.

    Args:
      num_processes: As in ``join``.
      process_id: As in ``join``.

    Raises:
      RequestError: If a launcher's variable is no number.
    """
    if process_id >= 0 or num_processes > 0:
        return process_id <= 0
    return _launched()[1] == 0


def check_process_count(num_processes: int) -> None:
    """Checks that the devices came up as one job of ``num_processes`` (0: as many as a launcher says).

    Raises:
      RequestError: If they did not: a platform that ignores the settings would train alone, N times.
    """
    expected = num_processes or _launched()[0]
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
        give_up(
            f"process {jax.process_index()} of {jax.process_count()} ends: this or another one failed."
        )


def _launched() -> tuple[int, int]:
    """Returns how many processes a launcher has started, and which this one is; (1, 0) where there is none."""
    for launcher in LAUNCHERS:
        if {launcher.size, launcher.rank, *launcher.others} <= os.environ.keys():
            return _number(launcher.size), _number(launcher.rank)
    return 1, 0


def _number(variable: str) -> int:
    text = os.environ[variable]
    if not text.isdecimal():
        raise RequestError(
            f"{variable}={text!r}, which a launcher sets, is not a number; start with the launcher, or use "
            "--config.distributed.num_processes=1 for one process alone."
        )
    return int(text)


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
    handler = handler_type(lambda _: give_up("another process of the job is dead."))
    _KEPT.append(handler)  # the C library keeps only its address
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, handler_type]
    libc.signal.restype = ctypes.c_void_p
    libc.signal(signal.SIGABRT, handler)


_KEPT: list[object] = []


def give_up(reason: str) -> NoReturn:
    """Ends this process of a job at once, with status 1, which ends the others."""
    print(reason, file=sys.stderr, flush=True)
    os._exit(1)
