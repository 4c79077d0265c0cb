"""Compiled programs kept on disk, so that the second start of a run does not compile again."""

import contextlib
import hashlib
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

AUTO, OFF = "auto", "off"
MAX_BYTES = 2**30  # of all programs kept; the longest unused go first


def enable(setting: str) -> Path | None:
    """Turns JAX's persistent compilation cache on. Must run before the first program is compiled.

    A cached program is code that JAX will run, so the directory must be the user's alone: it is made unreadable for
    others, and one that belongs to somebody else is not used. ``JAX_COMPILATION_CACHE_DIR`` goes before the setting.

    Args:
      setting: "auto" for the user's cache directory, "off", or a directory.

    Returns:
      Where programs are kept; None where they are not: the cache is off, or its directory cannot be used.
    """
    settings: Any = jax.config  # whose attributes are made at run time
    already = settings.jax_compilation_cache_dir
    if already:  # the environment's, or set by a program that uses us
        return Path(already)
    if setting == OFF:
        return None
    try:
        parent = _user_directory() if setting == AUTO else Path(setting)
    except RuntimeError:  # a user without a home
        return None
    directory = parent / _machine()
    if not _make_private(directory):
        return None
    _prune(directory)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    # JAX's default of a second leaves out most of what a small network compiles.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return directory


def keep_where_sound(function: Any, devices: Sequence[jax.Device]) -> Any:
    """Returns a jitted function whose programs are kept only where they can be used again.

    XLA starts the sums and exchanges of a program in one order on all devices. Of a program for several CPU devices
    that was read back from disk jaxlib 0.10.2 has lost that order: two that do not depend on each other then wait for
    one another, and after 40 seconds XLA aborts the process. Programs for several CPU devices are compiled anew.

    Args:
      function: From ``jax.jit`` or ``jax.pmap``.
      devices: All that it runs on, those of other processes too.
    """
    sound = len(devices) == 1 or devices[0].platform != "cpu"
    return function if sound else _NotKept(function)


class _NotKept:
    """A jitted function, and what ``lower`` makes of it, that leaves nothing in the cache."""

    def __init__(self, wrapped: Any):
        self._wrapped = wrapped

    def __call__(self, *arguments: Any) -> Any:
        with _keeping_nothing():
            return self._wrapped(*arguments)

    def lower(self, *arguments: Any) -> "_NotKept":
        return _NotKept(self._wrapped.lower(*arguments))

    def compile(self) -> Any:
        with _keeping_nothing():
            return self._wrapped.compile()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


@contextlib.contextmanager
def _keeping_nothing() -> Iterator[None]:
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, float("inf"))
    try:
        yield
    finally:
        jax.config.update(name, before)


def _user_directory() -> Path:
    """Returns where the XDG base directory specification has a user's caches.

    Raises:
      RuntimeError: If the user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "alexnet_jax"


def _machine() -> str:
    """Returns a name for this kind of processor: its programs do not run on one with other instructions.

    JAX's own key does not tell processors apart, and a home directory is often shared between machines.
    """
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    digest = hashlib.sha256(flags.encode()).hexdigest()[:8]
    return f"{platform.machine()}-{digest}"


def _make_private(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:  # no home, a read-only one, a full disk: a run does without
        return False
    if hasattr(os, "getuid") and directory.stat().st_uid != os.getuid():
        return False
    with contextlib.suppress(OSError):  # a file system without permissions
        directory.chmod(0o700)
    return os.access(directory, os.W_OK)


def _prune(directory: Path) -> None:
    """Deletes the programs that were not used for longest, until the rest fits.

    JAX can do so itself, but then a process killed between its two files makes every later write fail.
    """
    entries = []
    for path in directory.iterdir():
        try:
            if path.is_file():  # XLA keeps what it tried out on a GPU in a directory here
                entries.append((path.stat(), path))
        except OSError:  # another process prunes too
            continue
    total = sum(stat.st_size for stat, _ in entries)
    for stat, path in sorted(entries, key=lambda entry: entry[0].st_atime):
        if total <= MAX_BYTES:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        total -= stat.st_size
