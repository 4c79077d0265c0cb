"""The operations without parameters, against plain NumPy and exact properties."""

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from alexnet_jax.model import alexnet, layers
from tests.references import numbers, numpy_network


@pytest.mark.parametrize(("channels"), [3, 5, 96])
def test_local_response_norm_is_the_papers(channels):
    x = 20 * numbers.uniform("lrn", (2, 3, 3, channels))
    expected = numpy_network.local_response_norm(x.astype(np.float64))
    np.testing.assert_allclose(layers.local_response_norm(x), expected, rtol=1e-6)


def test_local_response_norm_is_pytorchs_with_alpha_times_n():
    torch = pytest.importorskip("torch")
    x = 20 * numbers.uniform("lrn", (2, 3, 3, 32))
    theirs = torch.nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)(
        torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    )
    np.testing.assert_allclose(
        layers.local_response_norm(x), theirs.numpy().transpose(0, 2, 3, 1), rtol=1e-6
    )


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 8, 13])
def test_adaptive_average_pool(size):
    x = numbers.uniform("pool", (2, size, size + 1, 3))
    expected = numpy_network.adaptive_average_pool(x.astype(np.float64), 6)
    np.testing.assert_allclose(layers.adaptive_average_pool(x, 6), expected, atol=1e-6)


@pytest.mark.parametrize(("window", "stride"), [(3, 2), (2, 2), (3, 1)])
def test_max_pool(window, stride):
    x = numbers.uniform("pool", (2, 8, 9, 3))
    pooled = layers.max_pool(jnp.array(x), window, stride)
    np.testing.assert_array_equal(pooled, numpy_network.max_pool(x, window, stride))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("height", "width", "kernel", "padding"),
    [
        (1, 1, 3, "SAME"),
        (2, 2, 3, ((1, 1), (1, 1))),
        (2, 3, 5, "SAME"),
        (4, 4, 3, "VALID"),
        (4, 4, 2, "SAME"),  # an even kernel pads the end more
        (3, 4, 3, ((0, 2), (1, 0))),
        (2, 3, 3, ((0, 2), (1, 0))),
    ],
)
def test_small_maps_are_convolved_as_lax_does(height, width, kernel, padding, dtype):
    assert height * width <= layers.SMALL_MAP_PIXELS
    x = jnp.array(numbers.uniform("x", (3, height, width, 4)), dtype)
    weights = jnp.array(numbers.uniform("kernel", (kernel, kernel, 4, 5)), dtype)
    options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}

    def run(function):
        def value(x, weights):
            return function(x, weights, (1, 1), padding, **options)

        output, pullback = jax.vjp(value, x, weights)
        cotangent = jnp.array(numbers.uniform("cotangent", output.shape), dtype)
        return output, *pullback(cotangent)

    tolerance = {"float32": 1e-6, "bfloat16": 2e-2, "float16": 2e-3}[dtype]
    for ours, theirs in zip(run(layers.convolution), run(lax.conv_general_dilated), strict=True):
        assert ours.dtype == theirs.dtype == jnp.dtype(dtype)
        ours, theirs = np.asarray(ours, np.float32), np.asarray(theirs, np.float32)
        np.testing.assert_allclose(ours, theirs, atol=tolerance * np.abs(theirs).max())


def test_a_tower_of_the_papers_conv2_does_not_see_the_other():
    model = alexnet.create("paper2012", num_classes=10)
    x = jnp.array(numbers.uniform("towers", (1, 27, 27, 96)))

    def first_tower(x):
        return jnp.square(model.conv2(x)[..., :128]).sum()

    gradient = np.asarray(jax.grad(first_tower)(x))
    assert (gradient[..., 48:] == 0).all()
    assert np.abs(gradient[..., :48]).min() > 0


@pytest.mark.parametrize(("rate", "words"), [(0.5, 252), (0.25, 252), (0.35, 503), (0.2, 503)])
def test_dropout_draws_few_bits_and_drops_at_its_rate(rate, words):
    """Of 1,006 units: 8 bits each where they can say the rate, else 16."""
    x, keys = jnp.ones((200, 1006)), jax.random.split(jax.random.key(0), 200)
    program = str(jax.make_jaxpr(lambda keys: layers.dropout(x, rate, keys))(keys))
    assert f"shape=({words},)" in program
    dropped = np.asarray(layers.dropout(x, rate, keys))
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / (1 - rate)], rtol=1e-6)
    spread = np.sqrt(rate * (1 - rate) / x.size)
    assert abs((dropped == 0).mean() - rate) < 4 * spread
    lost = dropped == 0
    # No unit and no example is dropped more than others, and neighbours are independent.
    for axis in (0, 1):
        size = x.shape[axis]
        assert np.abs(lost.mean(axis) - rate).max() < 5 * np.sqrt(rate * (1 - rate) / size)
    for distance in (1, 2, 3, 4):
        both = (lost[:, distance:] & lost[:, :-distance]).mean()
        assert abs(both - rate**2) < 4 * np.sqrt(rate**2 / x.size)


def test_dropout_s_gradient_is_what_it_kept():
    x = jnp.array(numbers.uniform("x", (3, 10)))
    keys = jax.random.split(jax.random.key(1), 3)
    gradient = jax.grad(lambda x: layers.dropout(x, 0.35, keys).sum())(x)
    expected = np.where(layers.dropout(x, 0.35, keys) == 0, 0, 1 / 0.65)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_dropout_rates_next_to_one_keep_a_unit_in_65536():
    keys = jax.random.split(jax.random.key(0), 1000)
    kept = layers.dropout(jnp.ones((1000, 1000)), 1 - 1e-9, keys) != 0
    assert 2 <= kept.sum() <= 40
