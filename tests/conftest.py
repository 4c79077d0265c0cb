"""Every test sees four CPU devices, and warnings as errors (pyproject.toml)."""

import jax

jax.config.update("jax_num_cpu_devices", 4)
