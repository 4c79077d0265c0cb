"""Convolutions by Fourier transforms against the sums over pixels in float64."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from alexnet_jax.model import fourier
from tests.references import numbers

CASES = {  # height, width, kernel, pads
    "torchvision conv2": (27, 27, (5, 5), ((2, 2), (2, 2))),
    "torchvision conv3": (13, 13, (3, 3), ((1, 1), (1, 1))),
    "conv1 in blocks": (57, 57, (3, 3), ((0, 0), (0, 0))),
    "one output": (3, 3, (3, 3), ((0, 0), (0, 0))),
    "uneven pads": (5, 8, (3, 3), ((0, 2), (2, 1))),
    "cut edges": (9, 7, (3, 3), ((-1, 0), (0, -2))),
    "even, uneven kernel": (8, 9, (4, 5), ((3, 3), (4, 4))),
    "padded more than its reach": (6, 6, (1, 1), ((2, 2), (1, 2))),
}

PADS = ((1, 1), (1, 1))


def _exact(x, kernel, pads, gradient):
    """Returns the output and, from its gradient, those of the image and the kernel; in float64."""
    x, kernel, gradient = np.float64(x), np.float64(kernel), np.float64(gradient)
    edges = [tuple(max(n, 0) for n in pair) for pair in pads]
    cuts = [tuple(max(-n, 0) for n in pair) for pair in pads]
    padded = np.pad(x, ((0, 0), *edges, (0, 0)))
    kept = tuple(
        slice(low, n - high) for n, (low, high) in zip(padded.shape[1:3], cuts, strict=True)
    )
    size = kernel.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(padded[:, *kept], size, axis=(1, 2))
    for_padded = np.zeros_like(padded)
    height, width = gradient.shape[1:3]
    for i, j in np.ndindex(size):
        part = for_padded[:, *kept][:, i : i + height, j : j + width]
        part += np.einsum("bhwo,co->bhwc", gradient, kernel[i, j])
    (top, _), (left, _) = edges
    return (
        np.einsum("bhwcij,ijco->bhwo", windows, kernel, optimize=True),
        for_padded[:, top : top + x.shape[1], left : left + x.shape[2]],
        np.einsum("bhwcij,bhwo->ijco", windows, gradient, optimize=True),
    )


@pytest.fixture(params=[None, 1, 2, 3], ids="{}-tiles".format)
def tiles(request, monkeypatch):
    """In each direction; None for what costs least."""
    if request.param is None:
        return

    def axes(shape, kernel, pads):
        directions = zip(shape[1:3], pads, kernel[:2], strict=True)
        return tuple(fourier._axis(*direction, request.param) for direction in directions)

    monkeypatch.setattr(fourier, "_axes", axes)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_the_sums_over_pixels(case):
    height, width, size, pads = CASES[case]
    x = numbers.uniform("x", (3, height, width, 10))
    kernel = numbers.uniform("kernel", (*size, 10, 8))
    (top, bottom), (left, right) = pads
    outputs = (height + top + bottom - size[0] + 1, width + left + right - size[1] + 1)
    gradient = numbers.uniform("gradient", (3, *outputs, 8))

    @jax.jit
    def run(x, kernel, gradient):
        y, pullback = jax.vjp(lambda x, kernel: fourier.convolve(x, kernel, pads), x, kernel)
        return y, *pullback(gradient)

    ours = run(x, kernel, gradient)
    for one, expected in zip(ours, _exact(x, kernel, pads, gradient), strict=True):
        np.testing.assert_allclose(one, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_in_bfloat16_only_the_output_is_rounded():
    x = jnp.array(numbers.uniform("x", (2, 7, 7, 6)), jnp.bfloat16)
    kernel = numbers.uniform("kernel", (3, 3, 6, 4))
    y = fourier.convolve(x, kernel, PADS)
    exact = fourier.convolve(x.astype(jnp.float32), kernel, PADS)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, exact.astype(jnp.bfloat16))


@pytest.mark.parametrize(
    ("dtype", "batch", "size", "kernel", "pays"),
    [
        ("float32", 64, 27, (5, 5, 64, 192), True),
        ("bfloat16", 64, 27, (5, 5, 64, 192), True),
        ("float32", 64, 13, (3, 3, 256, 256), True),
        ("bfloat16", 64, 13, (3, 3, 256, 256), False),
        ("float32", 64, 57, (3, 3, 48, 64), True),
        ("float32", 1, 13, (3, 3, 256, 256), False),  # the kernel's transform is for one image
        ("float32", 64, 13, (1, 1, 256, 256), False),
        ("float16", 64, 27, (5, 5, 64, 192), False),
        ("float32", 64, 3, (6, 6, 256, 256), False),  # no outputs
        ("float32", 64, 4, (5, 5, 64, 192), True),  # a small map, multiplied whole otherwise
        ("bfloat16", 64, 4, (5, 5, 64, 192), True),
        ("bfloat16", 64, 3, (5, 5, 64, 192), True),
        ("float32", 64, 3, (5, 5, 64, 192), False),
        ("bfloat16", 64, 2, (3, 3, 384, 256), False),
        ("float32", 64, 2, (3, 3, 384, 256), False),
        ("float32", 64, 4, (3, 3, 192, 384), True),  # a small map, as patches otherwise
        ("float32", 16, 4, (3, 3, 192, 384), False),
        ("bfloat16", 16, 4, (3, 3, 192, 384), False),
    ],
)
def test_it_pays_where_the_kernel_is_large_enough_for_the_dtype(dtype, batch, size, kernel, pays):
    padded = size < 57 and kernel[0] % 2
    pads = ((kernel[0] // 2 if padded else 0,) * 2,) * 2
    assert fourier.pays((batch, size, size, kernel[2]), kernel, pads, dtype) == pays


def test_what_has_large_maps_and_few_features_is_cut_into_tiles():
    def cut(size, kernel):
        pads = ((kernel[0] // 2 if size < 57 else 0,) * 2,) * 2
        return [axis.tiles for axis in fourier._axes((64, size, size, kernel[2]), kernel, pads)]

    assert cut(57, (3, 3, 48, 64)) == [5, 3]
    assert cut(27, (5, 5, 64, 192)) == [1, 1]
    assert cut(28, (3, 3, 192, 384)) == [2, 1]


def test_products_are_of_float32_whatever_the_default():
    x, kernel = jnp.zeros((2, 7, 7, 6)), jnp.zeros((3, 3, 6, 4))
    with jax.default_matmul_precision("bfloat16"):
        program = str(jax.make_jaxpr(lambda *args: fourier.convolve(*args, PADS))(x, kernel))
    assert program.count("dot_general") == program.count("HIGHEST") // 2 > 0


def test_it_can_be_mapped():
    xs = numbers.uniform("x", (2, 3, 7, 7, 4))
    kernel = numbers.uniform("kernel", (3, 3, 4, 8))

    def gradient(kernel, x):
        return jax.grad(lambda kernel: (fourier.convolve(x, kernel, PADS) ** 2).sum())(kernel)

    mapped = jax.vmap(gradient, in_axes=(None, 0))(kernel, xs)
    for one, x in zip(mapped, xs, strict=True):
        expected = gradient(kernel, x)
        np.testing.assert_allclose(one, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
