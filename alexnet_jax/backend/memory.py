"""Keeps the memory that a step frees for the next one.

Every step on a CPU needs hundreds of MB for what it holds between its layers. The C library gives blocks of that size
back to the system when they are freed, and the next step pays for every page of them again.
"""

import ctypes
import os

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
NEVER = -1


def keep_freed_memory() -> bool:
    """Tells glibc to keep what is freed, for this process; elsewhere, or where the user tuned it, does nothing.

    Returns:
      Whether it was told.
    """
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if tuned or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    if os.name != "posix" or "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        return False
    tune = ctypes.CDLL(None).mallopt
    # All blocks from one heap, which is never trimmed.
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER), (M_ARENA_MAX, 1))
    return all(tune(parameter, value) == 1 for parameter, value in settings)
