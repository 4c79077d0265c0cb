"""Each augmentation against NumPy or Pillow on the parameters it drew, and the distribution of what it draws."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from PIL import Image, ImageEnhance

from alexnet_jax.train import augment
from alexnet_jax.train.augment import Augmentation, Normalization, Transform
from tests.references import small_runs


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def numbered(height, width):
    """Returns an image whose every pixel says where it came from."""
    return np.arange(1, height * width * 3 + 1, dtype=np.float32).reshape(height, width, 3)


def assert_uniform(draws, low, high):
    """Fails unless whole numbers from low to high all occur, about equally often: chi-square at 1e-4 or less."""
    counts = np.bincount(np.asarray(draws) - low, minlength=high - low + 1)
    assert len(counts) == high - low + 1
    expected = len(draws) / len(counts)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    degrees = len(counts) - 1
    assert chi_square < degrees + 4 * np.sqrt(2 * degrees) + 8


def test_pad_crop():
    image = numbered(8, 10)
    padded = np.zeros((14, 16, 3), np.float32)
    padded[3:11, 3:13] = image
    windows = np.lib.stride_tricks.sliding_window_view(padded, (8, 10), axis=(0, 1))
    places = {windows[i, j].tobytes(): (i, j) for i in range(7) for j in range(7)}
    crops = jax.vmap(lambda key: augment.pad_crop(key, jnp.array(image), 3))(keys(2000))
    found = [
        places[np.ascontiguousarray(c.transpose(2, 0, 1)).tobytes()] for c in np.asarray(crops)
    ]
    for axis in (0, 1):
        assert_uniform([place[axis] for place in found], 0, 6)


@pytest.mark.parametrize("probability", [0.0, 0.5, 0.8, 1.0])
def test_flip(probability):
    image = numbered(3, 4)
    flipped = jax.vmap(lambda key: augment.flip(key, jnp.array(image), probability))(keys(2000))
    mirrored = (np.asarray(flipped) == image[:, ::-1]).all((1, 2, 3))
    same = (np.asarray(flipped) == image).all((1, 2, 3))
    assert (mirrored ^ same).all()
    assert mirrored.mean() == pytest.approx(probability, abs=0.045)


def test_random_crop_is_a_window_anywhere():
    image = numbered(9, 9)
    crops = np.asarray(
        jax.vmap(lambda key: augment.random_crop(key, jnp.array(image), 9, 6))(keys(2000))
    )
    tops, lefts = np.divmod((crops[:, 0, 0, 0].astype(int) - 1) // 3, 9)
    for crop, top, left in zip(crops[:50], tops, lefts, strict=False):
        np.testing.assert_array_equal(crop, image[top : top + 6, left : left + 6])
    for draws in (tops, lefts):
        assert_uniform(draws, 0, 3)


def test_random_crop_resizes_first_as_pillow():
    photo = np.asarray(
        Image.fromarray(small_runs.pixels(1, 6)[0]).resize((20, 20), Image.Resampling.BICUBIC)
    )
    crop = augment.random_crop(jax.random.key(0), jnp.array(photo, jnp.float32), 32, 32)
    theirs = Image.fromarray(photo).resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(crop, np.asarray(theirs), atol=1.0)  # Pillow rounds


def blended(image, factor, kind):
    """Returns Pillow's brightness, contrast or colour."""
    enhancer = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[kind]
    return enhancer(image).enhance(factor)


@pytest.mark.parametrize("order", range(6))
def test_colors_are_pillows(order):
    """Pillow rounds after each of three steps, and its mean grey before contrast."""
    pixels = small_runs.pixels(1, 16)[0]
    factors = (0.7, 1.4, 0.6)
    ours = augment.adjust_colors(
        jnp.array(pixels, jnp.float32), jnp.array(factors), jnp.array(order)
    )
    theirs = Image.fromarray(pixels)
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    for kind in orders[order]:
        theirs = blended(theirs, factors[kind], kind)
    np.testing.assert_allclose(ours, np.asarray(theirs, np.float32), atol=3.0)


def test_color_factors_and_orders():
    """On a grey image contrast and saturation do nothing: what is left is the brightness factor."""
    grey = jnp.full((2, 2, 3), 100.0)
    jittered = jax.vmap(lambda key: augment.color_jitter(key, grey, 0.4))(keys(4000))
    factors = np.asarray(jittered)[:, 0, 0, 0] / 100
    assert factors.min() >= 0.6 - 1e-6
    assert factors.max() <= 1.4 + 1e-6
    counts, _ = np.histogram(factors, bins=8, range=(0.6, 1.4))
    assert_uniform(np.repeat(np.arange(8), counts), 0, 7)


def test_pca_noise():
    """One shift an image; the shifts have the covariance that the constants say, on the 0-255 scale."""
    black = jnp.zeros((2, 3, 3))
    shifted = np.asarray(
        jax.vmap(lambda key: augment.pca_noise(key, black, 0.1))(keys(20_000)), np.float64
    )
    assert (shifted == shifted[:, :1, :1]).all()
    shifts = shifted[:, 0, 0]
    vectors = np.array(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )
    values = np.array([1.148, 4.794, 55.46])
    covariance = vectors @ np.diag((0.1 * values) ** 2) @ vectors.T
    np.testing.assert_allclose(np.cov(shifts.T), covariance, atol=0.03 * covariance.max())
    assert np.abs(shifts.mean(0)).max() < 0.15
    weights = np.array([0.3, -0.2, 0.1])
    expected = [sum(vectors[c, j] * weights[j] * values[j] for j in range(3)) for c in range(3)]
    np.testing.assert_allclose(augment.color_shift(jnp.array(weights)), expected, rtol=1e-5)


def test_the_principal_components_are_a_basis():
    vectors = np.array(augment.EIGENVECTORS)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=2e-3)


def test_each_draw_has_its_own_key():
    """Switching one augmentation on leaves the others' draws as they were."""
    image, key = jnp.array(small_runs.pixels(1)[0], jnp.float32), jax.random.key(3)
    alone = augment.augment(Augmentation(pad_crop_pixels=4), key, image)
    both = augment.augment(Augmentation(pad_crop_pixels=4, pca_noise=0.1), key, image)
    shift = np.asarray(both - alone)
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:1, :1], shift.shape), atol=1e-4)
    assert np.abs(shift).max() > 0.1


def test_transform_crops_what_it_resized():
    """Every image its own place: 64 copies of an image give many crops, all of the size asked for."""
    transform = Transform(
        24, Normalization((0.0,) * 3, (1 / 255,) * 3), Augmentation(random_crop=(32, 24))
    )
    images = jnp.array(np.repeat(small_runs.pixels(1), 64, axis=0))
    crops = np.asarray(transform(images, keys(64)))
    assert crops.shape == (64, 24, 24, 3)
    assert len({crop.tobytes() for crop in crops}) > 30
