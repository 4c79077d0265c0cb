"""Every test sees four CPU devices, and warnings as errors (pyproject.toml)."""

import jax

# They import what they compare with, PyTorch among it, and hold no tests; the doctests of a directory would import
# them.
collect_ignore_glob = ["references/*.py"]

jax.config.update("jax_num_cpu_devices", 4)
