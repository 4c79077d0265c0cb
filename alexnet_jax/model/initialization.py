"""Initializers that JAX does not ship: PyTorch's default, and biases that depend on their layer's fan-in."""

import math
from typing import Any

import jax
from jax import numpy as jnp
from jax.nn import initializers
from jax.nn.initializers import Initializer

# PyTorch's default for kernels, U(-1/sqrt(fan_in), 1/sqrt(fan_in)): a variance of 1 / (3 fan_in).
uniform_fan_in = initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def uniform_fan_in_bias(fan_in: int, constant: float) -> Initializer:
    """Returns PyTorch's default for biases: uniform within ±1/sqrt(fan_in of the layer's kernel)."""
    del constant
    limit = 1 / math.sqrt(fan_in)

    def init(
        key: jax.Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None
    ) -> jax.Array:
        del out_sharding
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


def constant_bias(fan_in: int, constant: float) -> Initializer:
    """Returns an initializer of biases that all equal ``constant``."""
    del fan_in
    return initializers.constant(constant)


def truncated_normal_bias(stddev: float) -> Any:
    """Returns a rule that draws biases from N(0, stddev²), cut at two standard deviations."""

    def bias(fan_in: int, constant: float) -> Initializer:
        del fan_in, constant
        return initializers.truncated_normal(stddev)

    return bias
