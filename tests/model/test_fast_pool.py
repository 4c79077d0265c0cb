"""ReLU and max pooling in one, against the compiler's own."""

import itertools

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from alexnet_jax.model import fast_pool, layers
from tests.references import numbers

GEOMETRIES = [(3, 2), (2, 2), (3, 1), (2, 3)]
SIZES = [(7, 8), (8, 9), (3, 3)]


def _plain(x, bias, window, stride):
    return layers.max_pool(jax.nn.relu(x if bias is None else x + bias), window, stride)


def _fast(x, bias, window, stride):
    return fast_pool.relu_max_pool(x, bias, window, stride)


def _run(function, x, bias, window, stride):
    """Returns the output and the gradients for whole-number cotangents, whose sums are exact."""

    def both(x, bias):
        output, pullback = jax.vjp(lambda *xs: function(*xs, window, stride), x, bias)
        cotangent = jnp.arange(output.size).reshape(output.shape) % 2 + 1
        return output, *pullback(cotangent.astype(output.dtype))

    return [np.asarray(leaf, np.float32) for leaf in jax.tree.leaves(jax.jit(both)(x, bias))]


def _assert_same(x, bias, window, stride):
    for ours, theirs in zip(
        _run(_fast, x, bias, window, stride), _run(_plain, x, bias, window, stride), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("window", "stride"), GEOMETRIES)
def test_values_and_gradients_are_the_compilers(window, stride, dtype):
    for height, width in SIZES:
        x = jnp.array(numbers.uniform("x", (2, height, width, 3)), dtype)
        _assert_same(x, jnp.array([0.125, 0, -0.25], dtype), window, stride)
        _assert_same(x, None, window, stride)


@pytest.mark.parametrize(("window", "stride"), GEOMETRIES)
def test_the_first_of_equals_wins(window, stride):
    """Three values only, so that nearly every window has ties, of zeros too."""
    x = jnp.round(jnp.array(numbers.uniform("ties", (2, 8, 9, 4))))
    assert set(np.unique(x)) == {-1, 0, 1}
    _assert_same(x, None, window, stride)


@pytest.mark.parametrize("window", [2, 3])
def test_what_is_not_a_number_counts_as_the_compiler_has_it(window):
    """Every arrangement of NaN and infinities over the pixels of one window."""
    values = (-1.0, 2.0, np.nan, np.inf) if window == 2 else (2.0, np.nan)
    images = itertools.product(values, repeat=window * window)
    x = jnp.array(list(images), jnp.float32).reshape(-1, window, window, 1)
    _assert_same(x, None, window, 2)


def test_it_can_be_mapped():
    x = jnp.array(numbers.uniform("x", (3, 2, 7, 7, 4)))
    mapped = jax.vmap(lambda x: jax.grad(lambda x: (_fast(x, None, 3, 2) ** 2).sum())(x))(x)
    together = jax.grad(lambda x: (_plain(x, None, 3, 2) ** 2).sum())(x.reshape(6, 7, 7, 4))
    np.testing.assert_array_equal(mapped.reshape(together.shape), together)


def test_the_gradient_needs_one_byte_a_window_and_scatters_nothing():
    x = jax.ShapeDtypeStruct((2, 8, 8, 4), jnp.float32)
    _, pullback = jax.eval_shape(lambda x: jax.vjp(lambda x: _fast(x, None, 2, 2), x), x)
    assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(pullback)] == [
        ((2, 4, 4, 4), jnp.uint8)
    ]
    gradient = jax.grad(lambda x: _fast(x, None, 2, 2).sum())
    assert "scatter" not in jax.jit(gradient).lower(x).as_text()
