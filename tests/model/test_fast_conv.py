"""Convolutions as products, against lax's, for the convolutions of every variant."""

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from alexnet_jax.model import fast_conv, layers
from tests.references import numbers

LAYOUT = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
CASES = {  # size of the image, kernel, stride, padding, groups; with the channels cut
    "torchvision conv1": (35, 11, 4, ((2, 2), (2, 2)), 1),
    "paper2012 conv1": (35, 11, 4, "VALID", 1),
    "ascend_mindspore conv1": (34, 11, 4, "SAME", 1),
    "cifar32 conv1": (32, 11, 4, ((5, 5), (5, 5)), 1),
    "deepspark conv1": (16, 3, 2, ((1, 1), (1, 1)), 1),
    "torchvision conv2": (9, 5, 1, ((2, 2), (2, 2)), 1),
    "paper2012 conv2": (9, 5, 1, ((2, 2), (2, 2)), 2),
    "mindspore_2022 conv3": (7, 3, 1, "SAME", 1),
    "small map": (2, 3, 1, ((1, 1), (1, 1)), 1),
    "even kernel": (6, 4, 1, "SAME", 1),
    "pixels left over": (10, 3, 3, "VALID", 1),
}


def _run(function, x, kernel, *geometry, **options):
    def both(x, kernel):
        def value(x, kernel):
            return function(x, kernel, *geometry, **options)

        output, pullback = jax.vjp(value, x, kernel)
        cotangent = jnp.array(numbers.uniform("cotangent", output.shape), output.dtype)
        return output, *pullback(cotangent)

    return jax.jit(both)(x, kernel)


@pytest.fixture
def one_image_a_chunk(monkeypatch):
    monkeypatch.setattr(fast_conv, "CHUNK_BYTES", 1)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_laxs(name, monkeypatch):
    size, width, stride, padding, groups = CASES[name]
    x = jnp.array(numbers.uniform("x", (6, size, size, 4)))
    kernel = jnp.array(numbers.uniform("kernel", (width, width, 4 // groups, 8)))
    options = LAYOUT | {"feature_group_count": groups}
    geometry = ((stride, stride), padding)
    expected = _run(lax.conv_general_dilated, x, kernel, *geometry, **options)
    for chunk_bytes in (fast_conv.CHUNK_BYTES, 1):  # all images at once, left to lax; one by one
        monkeypatch.setattr(fast_conv, "CHUNK_BYTES", chunk_bytes)
        for ours, theirs in zip(
            _run(fast_conv.convolution, x, kernel, *geometry, **options), expected, strict=True
        ):
            assert ours.dtype == jnp.float32
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6 * np.abs(theirs).max())


@pytest.mark.usefixtures("one_image_a_chunk")
def test_a_wide_kernel_is_multiplied_row_by_row():
    x = jnp.array(numbers.uniform("x", (2, 6, 6, fast_conv.NARROW)))
    kernel = jnp.array(numbers.uniform("kernel", (3, 3, fast_conv.NARROW, 2)))
    geometry = ((1, 1), "SAME")
    expected = _run(lax.conv_general_dilated, x, kernel, *geometry, **LAYOUT)
    for ours, theirs in zip(
        _run(fast_conv.convolution, x, kernel, *geometry, **LAYOUT), expected, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=2e-6 * np.abs(theirs).max())


def test_images_are_taken_in_equal_parts_that_fit():
    def chunks(batch, side):
        x = jax.ShapeDtypeStruct((batch, side, side, 64), jnp.float32)
        return fast_conv._chunks(x, 3, ((1, 1), (1, 1)))

    image_bytes = 30 * 30 * 3 * 64 * 4
    assert fast_conv.CHUNK_BYTES // image_bytes == 12
    assert [chunks(batch, 28) for batch in (12, 13, 64, 24)] == [1, 13, 8, 2]
    assert chunks(2, 1000) == 2


@pytest.mark.usefixtures("one_image_a_chunk")
def test_it_can_be_mapped():
    x = jnp.array(numbers.uniform("x", (2, 3, 7, 7, 4)))
    kernel = jnp.array(numbers.uniform("kernel", (3, 3, 4, 8)))

    def gradient(function):
        def loss(kernel, x):
            return (function(x, kernel, (1, 1), "SAME", **LAYOUT) ** 2).sum()

        return jax.vmap(jax.grad(loss), in_axes=(None, 0))(kernel, x)

    expected = gradient(layers.convolution)
    limit = 2e-6 * np.abs(expected).max()
    np.testing.assert_allclose(gradient(fast_conv.convolution), expected, rtol=0, atol=limit)
