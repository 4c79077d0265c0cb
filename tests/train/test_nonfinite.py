"""Which gradient is not finite, as the training step finds it."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from alexnet_jax.train.health import nonfinite_place

LARGEST = np.finfo(np.float32).max
SHAPES = {"conv": (3, 3, 64, 32), "bias": (4096,), "dense": (4096, 16)}  # leaves in order of names


def _gradients(**faults):
    gradients = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    for name, (index, value) in faults.items():
        gradients[name].flat[index] = value
    return jax.tree.map(jnp.array, gradients)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "place"), [("bias", 1), ("conv", 2), ("dense", 3)])
def test_one_number_is_found_wherever_it_is(name, place, value):
    for index in (0, 4095, -1):
        assert jax.jit(nonfinite_place)(_gradients(**{name: (index, value)})) == place


def test_the_last_leaf_is_where_it_began():
    gradients = _gradients(bias=(0, np.nan), conv=(5, np.inf))
    assert jax.jit(nonfinite_place)(gradients) == 2


@pytest.mark.parametrize("value", [0.0, LARGEST, -LARGEST, np.finfo(np.float32).smallest_subnormal])
def test_finite_numbers_are_no_fault(value):
    gradients = {name: jnp.full(shape, value, jnp.float32) for name, shape in SHAPES.items()}
    assert jax.jit(nonfinite_place)(gradients) == 0
