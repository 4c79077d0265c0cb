"""``strategies.py`` in double precision: whether what parts the strategies is rounding alone.

    python benchmarks/strategies_double.py [--narrow] [--variant NAME]

The package computes in ``jnp.float32`` where it does not compute in a half precision; that name stands for float64 here
before the package is imported.
"""

import runpy
from pathlib import Path

import jax
from jax import numpy as jnp

jax.config.update("jax_enable_x64", True)
jnp.float32 = jnp.float64
runpy.run_path(str(Path(__file__).with_name("strategies.py")), run_name="__main__")
