"""Convolutions as products, against lax's, for the convolutions of every variant."""

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from alexnet_jax.model import fast_conv, fourier, layers
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
    "cifar32 conv2": (4, 5, 1, ((2, 2), (2, 2)), 1),
    "cifar32 conv3": (2, 3, 1, ((1, 1), (1, 1)), 1),
    "even kernel": (6, 4, 1, "SAME", 1),
    "pixels left over": (10, 3, 3, "VALID", 1),
    "padded more than its reach": (6, 1, 1, ((2, 2), (1, 2)), 1),
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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_laxs(name, dtype, monkeypatch):
    size, width, stride, padding, groups = CASES[name]
    x = jnp.array(numbers.uniform("x", (6, size, size, 4)), dtype)
    kernel = jnp.array(numbers.uniform("kernel", (width, width, 4 // groups, 8)), dtype)
    options = LAYOUT | {"feature_group_count": groups}
    geometry = ((stride, stride), padding)
    exact = (array.astype(jnp.float32) for array in (x, kernel))
    expected = _run(lax.conv_general_dilated, *exact, *geometry, **options)
    tolerance = {"float32": 2e-6, "bfloat16": 1e-2}[dtype]
    # All images at once, left to lax; one by one; by Fourier transforms.
    for chunk_bytes, pays in ((fast_conv.CHUNK_BYTES, False), (1, False), (1, True)):
        monkeypatch.setattr(fast_conv, "CHUNK_BYTES", chunk_bytes)
        monkeypatch.setattr(fourier, "pays", lambda *_, pays=pays: pays)
        for ours, theirs in zip(
            _run(fast_conv.convolution, x, kernel, *geometry, **options), expected, strict=True
        ):
            assert ours.dtype == jnp.dtype(dtype)
            limit = tolerance * np.abs(theirs).max()
            np.testing.assert_allclose(np.asarray(ours, np.float32), theirs, rtol=0, atol=limit)


@pytest.mark.usefixtures("one_image_a_chunk")
@pytest.mark.parametrize(
    ("batch", "side", "alike"), [(64, 2, True), (16, 4, True), (64, 4, False), (16, 5, False)]
)
def test_small_maps_that_transforms_do_not_pay_for_are_left_to_the_plain_layer(batch, side, alike):
    x, kernel = jnp.zeros((batch, side, side, 192)), jnp.zeros((3, 3, 192, 256))
    programs = (
        str(jax.make_jaxpr(lambda *arrays, f=f: f(*arrays, (1, 1), "SAME", **LAYOUT))(x, kernel))
        for f in (fast_conv.convolution, layers.convolution)
    )
    assert (next(programs) == next(programs)) == alike


def test_a_small_map_is_transformed_though_it_fits_one_chunk():
    x, kernel = jnp.zeros((2, 4, 4, 64)), jnp.zeros((5, 5, 64, 192))
    assert fast_conv._chunks(x, 5, ((2, 2), (2, 2))) == 1
    programs = (
        str(jax.make_jaxpr(f)(x, kernel))
        for f in (
            lambda *arrays: fast_conv.convolution(*arrays, (1, 1), "SAME"),
            lambda *arrays: fourier.convolve(*arrays, ((2, 2), (2, 2))),
        )
    )
    assert next(programs) == next(programs)


@pytest.mark.parametrize(("dtype", "transformed"), [("float32", True), ("float16", False)])
def test_what_pays_is_left_to_fourier_transforms(dtype, transformed, monkeypatch):
    calls = []

    def convolve(x, kernel, pads):
        calls.append((x.shape, kernel.shape, pads))
        return original(x, kernel, pads)

    original = fourier.convolve
    monkeypatch.setattr(fourier, "convolve", convolve)
    x, kernel = jnp.zeros((64, 27, 27, 64), dtype), jnp.zeros((5, 5, 32, 192))
    y = jax.eval_shape(
        lambda *arrays: fast_conv.convolution(*arrays, (1, 1), "SAME", feature_group_count=2),
        *(x, kernel),
    )
    assert y.shape == (64, 27, 27, 192)
    a_group = ((64, 27, 27, 32), (5, 5, 32, 96), ((2, 2), (2, 2)))
    assert calls == [a_group, a_group] * transformed


@pytest.mark.usefixtures("one_image_a_chunk")
def test_the_gradient_of_a_kernel_kept_in_float32_is_not_rounded():
    x = jnp.array(numbers.uniform("x", (4, 6, 6, 4)), jnp.bfloat16)
    kernel = jnp.array(numbers.uniform("kernel", (3, 3, 4, 8)), jnp.bfloat16)
    geometry = ((1, 1), "SAME")
    *_, gradient = _run(fast_conv.convolution, x, kernel.astype(jnp.float32), *geometry)
    exact = (array.astype(jnp.float32) for array in (x, kernel))
    *_, expected = _run(
        lambda x, k: lax.conv_general_dilated(x, k, *geometry, **LAYOUT).astype(jnp.bfloat16),
        *exact,
    )
    assert gradient.dtype == jnp.float32
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_images_are_taken_in_equal_parts_that_fit():
    def chunks(batch, side):
        x = jax.ShapeDtypeStruct((batch, side, side, 64), jnp.float32)
        return fast_conv._chunks(x, 3, ((1, 1), (1, 1)))

    image_bytes = 30 * 30 * 3 * 64 * 4
    assert fast_conv.CHUNK_BYTES // image_bytes == 3
    assert [chunks(batch, 28) for batch in (3, 13, 64, 24)] == [1, 13, 32, 8]
    assert chunks(2, 1000) == 2
    assert chunks(0, 28) == 1


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
