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


def _second_time(*arguments, **variables):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    run = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments],
        env=kept | variables,
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
