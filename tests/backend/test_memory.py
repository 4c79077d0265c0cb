"""Memory that is kept between steps, seen in the page faults of a real process."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="of glibc only"
)

FAULTS = """
import resource, sys
import numpy as np
from alexnet_jax.backend.memory import keep_freed_memory

print(keep_freed_memory() if "keep" in sys.argv else None)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(50_000_000, 1.0)  # 400 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


TRIM = """
import pathlib, re
from alexnet_jax.backend import memory

def own_mib():
    text = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\\s+(\\d+)", text).group(1)) // 1024

def use_and_free():
    blocks = [b"x" * 300_000 for _ in range(1000)]  # 300 MB
    return blocks[-1]  # above them in the heap, so that what is free is no end of it

memory.keep_freed_memory()
held = use_and_free()
print(memory.trim_kept_memory(), own_mib())
memory.TRIM_SECONDS = 0.0
print(memory.trim_kept_memory(), own_mib())
"""


def _without_tuning():
    return {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}


def _second_time(*arguments, **variables):
    run = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments],
        env=_without_tuning() | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    told, faults = run.stdout.split()
    return told, int(faults)


def test_freed_memory_is_kept():
    assert _second_time()[1] > 100  # what it is for: else pages are new, of 4 KB or 2 MB, each time
    told, faults = _second_time("keep")
    assert told == "True"
    assert faults < 20


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_what_the_user_tuned_stays(name):
    value = {"MALLOC_ARENA_MAX": "2", "GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}[name]
    assert _second_time("keep", **{name: value})[0] == "False"


def _trim(**variables):
    """Returns whether memory was trimmed, and what it was, at once and after the time between."""
    run = subprocess.run(
        [sys.executable, "-c", TRIM],
        env=_without_tuning() | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    (early, before), (late, after) = (line.split() for line in run.stdout.splitlines())
    return early, late, int(before), int(after)


def test_kept_memory_that_nothing_uses_is_given_back_now_and_then():
    early, late, before, after = _trim()
    assert (early, late) == ("False", "True")
    assert after < before - 250


def test_memory_is_not_trimmed_where_the_user_tuned_it():
    assert _trim(MALLOC_ARENA_MAX="2")[:2] == ("False", "False")
