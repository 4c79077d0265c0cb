"""Every test sees four CPU devices, and warnings as errors (pyproject.toml)."""

import os
from pathlib import Path

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
