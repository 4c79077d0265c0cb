"""Every test sees four CPU devices, and warnings as errors (pyproject.toml)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Most of the suite's time would be XLA compiling the same small programs in one process after another. Set before JAX
# is imported, and inherited by the processes that tests start.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax

# They import what they compare with, PyTorch among it, and hold no tests; doctests would import them.
collect_ignore_glob = ["references/*.py"]

jax.config.update("jax_num_cpu_devices", 4)

# Tests of real processes, trainings and plugins, which take most of the suite's time: `-m "not slow"` leaves them out.
SLOW = (
    "backend/test_refusals.py",
    "backend/test_training.py",
    "commands/test_backends.py",
    "commands/test_benchmark",
    "commands/test_doctor.py",
    "data/test_tfds.py",
    "faults/",
    "model/test_formulations.py",
    "report/test_browser.py",
    "test_examples.py",
    "test_gpu_report.py",
    "test_recipes.py::test_smoke_trains",
    "train/test_digits.py",
    "train/test_loss_curves.py",
    "train/test_parallel.py",
    "train/test_processes.py",
)


@pytest.fixture(scope="module", autouse=True)
def _forget_programs() -> Iterator[None]:
    """Lets go of the programs that a file's tests compiled: of the whole suite they came to 7 GB a worker."""
    yield
    jax.clear_caches()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the slow tests."""
    root = Path(__file__).parent
    for item in items:
        if not item.path.is_relative_to(root):  # a doctest
            continue
        if f"{item.path.relative_to(root)}::{item.name}".startswith(SLOW):
            item.add_marker(pytest.mark.slow)
