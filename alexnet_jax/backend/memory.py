"""Keeps the memory that a step frees for the next one; explains where there is too little.

Every step on a CPU needs hundreds of MB for what it holds between its layers. The C library gives blocks of that size
back to the system when they are freed, and the next step pays for every page of them again.
"""

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator

from alexnet_jax.errors import RunError

TRIM_SECONDS = 60.0  # between two times that memory is given back; what the next step pays for it is then nothing

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
NEVER = -1

EXHAUSTED = "RESOURCE_EXHAUSTED"  # XLA's status

_trimmed_at: float | None = None  # on the monotonic clock; None where nothing is kept


@contextlib.contextmanager
def enough() -> Iterator[None]:
    """Says what to do where the memory of a device, or the host's, does not suffice.

    Raises:
      RunError: In the place of JAX's error.
    """
    try:
        yield
    except RuntimeError as error:  # JAX's is one; it need not be imported for that
        status, _, what = str(error).partition(": ")
        if status != EXHAUSTED:
            raise
        raise RunError(
            f"the memory does not suffice ({what.splitlines()[0]}); use a smaller batch_size, or a larger "
            "optimizer.accumulate_steps, or data.resident=false. --dry_run says how much a run needs."
        ) from error


def keep_freed_memory() -> bool:
    """Tells glibc to keep what is freed, for this process; elsewhere, or where the user tuned it, does nothing.

    Returns:
      Whether it was told.
    """
    global _trimmed_at
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if tuned or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    if os.name != "posix" or "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        return False
    tune = ctypes.CDLL(None).mallopt
    # All blocks from one heap, which is never trimmed.
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER), (M_ARENA_MAX, 1))
    kept = all(tune(parameter, value) == 1 for parameter, value in settings)
    _trimmed_at = time.monotonic() if kept else None
    return kept


def trim_kept_memory() -> bool:
    """Gives the system what is kept and not in use, once in ``TRIM_SECONDS`` at most.

    Blocks that stay among those that come and go spread over the heap, and without this it would grow for hours.

    Returns:
      Whether it was done: not where ``keep_freed_memory`` changed nothing.
    """
    global _trimmed_at
    if _trimmed_at is None or time.monotonic() - _trimmed_at < TRIM_SECONDS:
        return False
    ctypes.CDLL(None).malloc_trim(0)
    _trimmed_at = time.monotonic()
    return True
