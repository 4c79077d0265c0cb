"""Winograd's convolution against the sum over pixels in float64."""

import numpy as np
import pytest

from alexnet_jax.model import winograd
from tests.references import numbers

CASES = {  # height, width, pads
    "torchvision conv3": (13, 13, ((1, 1), (1, 1))),
    "whole tiles": (8, 6, ((1, 1), (1, 1))),
    "one output": (3, 3, ((0, 0), (0, 0))),
    "uneven pads": (5, 8, ((0, 2), (2, 1))),
    "cut edges": (9, 7, ((-1, 0), (0, -2))),
}


def _exact(x, kernel, pads, gradient=None):
    """Returns the output; or, given its gradient, the kernel's."""
    edges = [tuple(max(n, 0) for n in pair) for pair in pads]
    x = np.pad(np.float64(x), ((0, 0), *edges, (0, 0)))
    (top, bottom), (left, right) = ((max(-low, 0), max(-high, 0)) for low, high in pads)
    x = x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    if gradient is None:
        return np.einsum("bhwcij,ijco->bhwo", windows, np.float64(kernel), optimize=True)
    return np.einsum("bhwcij,bhwo->ijco", windows, np.float64(gradient), optimize=True)


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_sum_over_pixels(case):
    height, width, pads = CASES[case]
    x = numbers.uniform("x", (3, height, width, 40))
    kernel = numbers.uniform("kernel", (3, 3, 40, 8))
    y = winograd.convolve(x, kernel, pads)
    expected = _exact(x, kernel, pads)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    gradient = numbers.uniform("gradient", y.shape)
    expected = _exact(x, kernel, pads, gradient)
    ours = winograd.kernel_gradient(x, gradient, pads)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
