import numpy as np
import pytest
from PIL import Image

import alexnet_jax
from alexnet_jax import plots
from alexnet_jax.errors import RequestError


@pytest.fixture(scope="module")
def model():
    return alexnet_jax.create("cifar32", num_classes=10)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((8, 32, 32, 3), np.float32)


def _pixels(axes):
    return np.asarray(axes.images[0].get_array())


def test_filters_are_the_kernels_in_a_grid(model, tmp_path):
    axes = plots.filters(model, tmp_path / "filters.png")
    assert _pixels(axes).shape == (8 * 12 - 1, 8 * 12 - 1, 3)
    second = np.asarray(model.conv1.kernel[...])[..., 1]
    expected = (second - second.min()) / (second.max() - second.min())
    np.testing.assert_allclose(_pixels(axes)[:11, 12:23], expected, atol=1e-6)
    with Image.open(tmp_path / "filters.png") as picture:
        assert picture.format == "PNG"


def test_activations_of_a_layer(model, images):
    axes = plots.activations(model, images[0], "relu2")
    maps = np.asarray(model.features(images[:1])["relu2"][0])
    assert _pixels(axes).shape == (14 * 5 - 1, 14 * 5 - 1)
    assert maps.shape == (4, 4, 192)
    with pytest.raises(RequestError, match="layer='fc6' has no maps; use one of: conv1, relu1"):
        plots.activations(model, images[0], "fc6")


def test_top5_has_the_likeliest_first_and_the_true_one_marked():
    probabilities = np.array([0.05, 0.4, 0.1, 0.3, 0.02, 0.13])
    axes = plots.top5(probabilities, [*"abcdef"], label=3)
    assert [text.get_text() for text in axes.get_yticklabels()] == [*"bdfca"]
    assert [bar.get_width() for bar in axes.patches] == [0.4, 0.3, 0.13, 0.1, 0.05]
    colors = [bar.get_facecolor() for bar in axes.patches]
    assert colors.count(colors[0]) == 4
    assert colors[1] != colors[0]
    names = ["shirt, red", "shirt, blue", "tench, Tinca tinca"]  # the last one ImageNet's
    axes = plots.top5(probabilities[:3], names)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["shirt, blue", "tench", "shirt, red"]


def test_neighbours_are_the_nearest(model, images, tmp_path):
    query = images[6] + 1e-3
    all_axes = plots.neighbours(
        model, images, query, layer="relu5", count=3, path=tmp_path / "n.png"
    )
    assert [axes.get_title() for axes in all_axes][:2] == ["query", "6"]
    assert (tmp_path / "n.png").stat().st_size > 1000
    np.testing.assert_array_equal(plots.nearest([[3.0], [1.0], [2.5]], [2.4], 2), [2, 0])
    with pytest.raises(RequestError, match="there is no layer 'relu7'"):
        plots.neighbours(model, images, query)
