"""Bias and ReLU in one, against the plain ones."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from alexnet_jax.model import fast_relu
from tests.references import numbers


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_value_and_gradients_are_the_plain_ones(dtype):
    x = jnp.array(numbers.uniform("x", (4, 5, 5, 8)), dtype).at[0, 0, 0].set(0)
    bias = jnp.array(numbers.uniform("bias", (8,)), dtype).at[0].set(0)
    gradient = jnp.array(numbers.uniform("gradient", x.shape), dtype)
    y, pullback = jax.vjp(fast_relu.relu, x, bias)
    expected, plain = jax.vjp(lambda x, bias: jax.nn.relu(x + bias), x, bias)
    assert jnp.array_equal(y, expected)
    for_x, for_bias = pullback(gradient)
    expected_x, _ = plain(gradient)
    assert jnp.array_equal(for_x, expected_x)
    sums = np.float64(expected_x).sum((0, 1, 2))
    tolerance = {"float32": 1e-6, "bfloat16": 4e-3}[dtype]
    np.testing.assert_allclose(np.float64(for_bias), sums, rtol=tolerance, atol=tolerance)
    assert for_bias.dtype == bias.dtype


def test_without_a_bias():
    x = jnp.array(numbers.uniform("x", (2, 3)))
    assert jnp.array_equal(fast_relu.relu(x), jnp.maximum(x, 0))
