"""A real PJRT plugin under a vendor's name: XLA's CPU plugin behind the shim (shim.c), which can also inject faults."""

import functools
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIM = Path(__file__).parent / "shim.c"
RECIPE = f"{ROOT}/configs/digits.py"


def real_plugin() -> str:
    """Returns the library of XLA's CPU plugin, or skips the test where there is none to test with."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the real plugin exists for Linux on x86-64 only")
    if not shutil.which("cc"):
        pytest.skip("no C compiler (cc) to build the shim with")
    if not importlib.util.find_spec("lammps_jax_pjrt_cpu"):
        pytest.skip("needs: pip install --no-deps lammps-jax-pjrt-cpu==0.11.2")
    import lammps_jax_pjrt_cpu

    return str(lammps_jax_pjrt_cpu.PLUGIN_PATH)


def library() -> str:
    """Returns the shim's library."""
    real_plugin()
    return str(_compiled(SHIM.read_text(), "shim"))


def compiled(source: str, name: str, *options: str) -> Path:
    """Returns a shared library made of C source."""
    real_plugin()
    return _compiled(source, name, *options)


@functools.cache
def _directory() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="alexnet_jax_plugins_")


@functools.cache
def _compiled(source: str, name: str, *options: str) -> Path:
    directory = Path(_directory().name)
    file = directory / f"{name}.so"
    code = directory / f"{name}.c"
    code.write_text(source)
    command = ["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", file, code, *options]
    subprocess.run([*command, "-ldl"], check=True)
    return file


def environment(**variables: str) -> dict[str, str]:
    """Returns the environment of a user with the plugin; of the test's own JAX, only its compiled programs."""
    prefixes = ("JAX_", "PJRT_", "XLA_", "SHIM_", "ALEXNET_JAX_")
    cache = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(prefixes) or name in cache
    }
    return clean | {"SHIM_PLUGIN": real_plugin(), "PYTHONPATH": str(ROOT)} | variables


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    """Runs ``python -m ...`` in a process of its own."""
    return python("-m", *arguments, cwd=cwd, **variables)


def python(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    """Runs Python in a process of its own."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(**variables),
        timeout=300,
    )
