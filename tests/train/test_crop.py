"""The device's crops against Pillow's, and the drawn boxes against torchvision's definition."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from PIL import Image

from alexnet_jax.data import decode
from alexnet_jax.train import crop
from alexnet_jax.train.augment import Augmentation, Normalization, Transform
from tests.data.photos import encode, photo

RECIPE = crop.RandomResizedCrop((0.08, 1.0), (3 / 4, 4 / 3))
PLAIN = Normalization((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))  # leaves 0-255


def _pixels(number: int = 0, width: int = 96, height: int = 64) -> np.ndarray:
    return np.asarray(photo(number, width, height))


def _keys(count: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), count)


@functools.partial(jax.jit, static_argnames=("count", "crop_", "seed"))
def _boxes(height, width, *, count, crop_=RECIPE, seed=0):
    shape = jnp.array([height, width])
    return jax.vmap(lambda key: crop.draw_box(key, shape, crop_))(_keys(count, seed))


@pytest.mark.parametrize(
    "box",
    [(0, 0, 64, 96), (10, 7, 40, 50), (3, 60, 20, 30), (44, 0, 20, 96), (5.5, 2.25, 31, 62.5)],
)
@pytest.mark.parametrize("size", [16, 48, 100])
def test_resampling_is_pillow_s(box, size):
    top, left, height, width = box
    image = Image.fromarray(_pixels())
    expected = image.resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height)
    )
    got = crop.resample(jnp.asarray(_pixels()), jnp.array(box, jnp.float32), size)
    difference = np.abs(np.asarray(got) - np.asarray(expected, np.float32))
    assert difference.max() <= 1.05  # Pillow rounds after the columns and after the rows
    assert difference.mean() < 0.4


def test_drawn_crops_are_pillow_s_of_the_same_boxes():
    images = np.stack([_pixels(number) for number in range(8)])
    shapes = np.tile(np.array([[64, 96]], np.int32), (8, 1))
    keys = _keys(8)
    for given in (None, jnp.asarray(shapes)):
        got = crop.random_resized_crop(keys, jnp.asarray(images), given, RECIPE, 56)
        boxes = jax.vmap(lambda key, shape: crop.draw_box(key, shape, RECIPE))(keys, shapes)
        for pixels, box, result in zip(images, np.asarray(boxes), np.asarray(got), strict=True):
            top, left, height, width = box
            expected = Image.fromarray(pixels).resize(
                (56, 56), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height)
            )
            assert np.abs(result - np.asarray(expected, np.float32)).max() <= 1.05


def test_boxes_of_a_squashed_image_are_drawn_on_its_own_shape():
    """The crop of the squashed image shows what the same crop of the original shows."""
    original = photo(0, 480, 320)
    squashed = np.asarray(original.resize((256, 256), Image.Resampling.BILINEAR))
    keys, shapes = _keys(6, seed=3), jnp.tile(jnp.array([[320, 480]]), (6, 1))
    got = crop.random_resized_crop(keys, jnp.tile(squashed[None], (6, 1, 1, 1)), shapes, RECIPE, 64)
    boxes = np.asarray(jax.vmap(lambda key, s: crop.draw_box(key, s, RECIPE))(keys, shapes))
    for (top, left, height, width), result in zip(boxes, np.asarray(got), strict=True):
        box = (left, top, left + width, top + height)
        expected = original.resize((64, 64), Image.Resampling.BILINEAR, box=box)
        assert np.abs(result - np.asarray(expected, np.float32)).mean() < 5


def test_boxes_lie_within_the_image_and_are_whole_pixels():
    for shape in [(375, 500), (500, 375), (64, 64), (33, 200)]:
        boxes = np.asarray(_boxes(*shape, count=4000))
        np.testing.assert_array_equal(boxes, np.round(boxes))
        top, left, height, width = boxes.T
        assert min(top.min(), left.min()) == 0
        assert min(height.min(), width.min()) >= 1
        assert (top + height).max() == shape[0]
        assert (left + width).max() == shape[1]


@pytest.mark.parametrize("shape", [(375, 500), (100, 300)])
def test_boxes_are_distributed_as_the_host_s(shape):
    """Means and spreads of area, aspect and place against the host's own draws of the same recipe."""
    count = 6000
    top, left, height, width = np.asarray(_boxes(*shape, count=count)).T
    generator = np.random.Generator(np.random.Philox(0))
    drawn = [
        decode.draw_crop(generator, shape[1], shape[0], RECIPE.area, RECIPE.aspect)
        for _ in range(count)
    ]
    x0, y0, x1, y1 = np.array(drawn, np.float64).T
    for one, other in [
        (height * width, (y1 - y0) * (x1 - x0)),
        (np.log(width / height), np.log((x1 - x0) / (y1 - y0))),
        (top + height / 2, (y0 + y1) / 2),
        (left + width / 2, (x0 + x1) / 2),
    ]:
        for order in (5, 25, 50, 75, 95):
            a, b = np.percentile(one, order), np.percentile(other, order)
            assert abs(a - b) < 0.16 * np.std(other), order


def test_an_image_no_box_fits_is_cropped_in_the_middle():
    narrow = crop.RandomResizedCrop((0.9, 1.0), (3 / 4, 4 / 3))
    assert np.asarray(_boxes(10, 1000, count=1, crop_=narrow))[0].tolist() == [0, 493, 10, 13]
    assert np.asarray(_boxes(1000, 10, count=1, crop_=narrow))[0].tolist() == [493, 0, 13, 10]


@pytest.mark.parametrize("protocol", ["center", "squash"])
@pytest.mark.parametrize(("resize", "size"), [(64, 56), (48, 48), (80, 67), (40, 33)])
def test_views_are_the_host_s_protocols(protocol, resize, size):
    encoded = encode(photo(0, 96, 64), "PNG")
    expected = decode.PROTOCOLS[protocol](resize, size)(encoded, np.random.default_rng(0))
    view = crop.View(resize, size, protocol == "squash")
    got = np.asarray(crop.apply_view(jnp.asarray(_pixels())[None], None, view))[0]
    # Where the longer side is truncated, the host's scale differs by up to a pixel over its length.
    assert np.abs(got - expected).mean() < 0.4


def test_a_view_that_resizes_nothing_is_a_slice():
    images = jnp.asarray(np.stack([_pixels(n, 64, 64) for n in range(2)]))
    got = crop.apply_view(images, None, crop.View(64, 56, squash=False))
    np.testing.assert_array_equal(got, images[:, 4:60, 4:60])


def test_the_view_of_a_squashed_image_has_its_own_shape_again():
    original = photo(0, 480, 320)
    squashed = np.asarray(original.resize((256, 256), Image.Resampling.BILINEAR))
    shapes = jnp.array([[320, 480]])
    got = crop.apply_view(jnp.asarray(squashed)[None], shapes, crop.View(72, 64, squash=False))
    expected = decode.center(72, 64)(encode(original, "PNG"), np.random.default_rng(0))
    assert np.abs(np.asarray(got)[0] - expected).mean() < 2


def test_training_crops_and_evaluation_views():
    images = jnp.asarray(np.stack([_pixels(n, 64, 64) for n in range(3)]))
    transform = Transform(48, PLAIN, Augmentation(crop=RECIPE), crop.View(64, 48, squash=True))
    evaluated = transform(images)
    np.testing.assert_allclose(evaluated, images[:, 8:56, 8:56], atol=1e-3)
    one, again, other = (transform(images, _keys(3, seed)) for seed in (0, 0, 1))
    assert one.shape == (3, 48, 48, 3)
    np.testing.assert_array_equal(one, again)
    assert np.abs(np.asarray(one) - other).mean() > 1
    assert np.abs(np.asarray(one) - evaluated).mean() > 1


@pytest.mark.parametrize("squashed", [False, True])
def test_random_crops_of_arrays_are_windows_of_what_the_host_decodes(squashed):
    """Whatever evaluation sees: no view of it is taken after the crop."""
    original = photo(0, 480, 320)
    encoded = encode(original, "PNG")
    stored = original.resize((256, 256), Image.Resampling.BILINEAR) if squashed else original
    images = jnp.asarray(np.repeat(np.asarray(stored)[None], 4, axis=0))
    shapes = jnp.array([[320, 480]] * 4) if squashed else None
    view = crop.View(80, 56, squash=True)
    transform = Transform(56, PLAIN, Augmentation(random_crop=(64, 56)), view)
    got = np.asarray(transform(images, _keys(4), shapes))
    decoded = decode.center(64, 64)(encoded, np.random.default_rng(0))
    on_the_host = jnp.asarray(np.repeat(decoded[None], 4, axis=0))
    expected = dataclasses.replace(transform, view=None)(on_the_host, _keys(4))
    assert got.shape == (4, 56, 56, 3)
    assert np.abs(got - np.asarray(expected)).mean() < 2
    np.testing.assert_allclose(
        transform(images, None, shapes), crop.apply_view(images, shapes, view), atol=1e-3
    )


def test_one_device_and_four_crop_alike():
    images = jnp.asarray(np.stack([_pixels(n, 64, 64) for n in range(8)]))
    transform = Transform(32, PLAIN, Augmentation(crop=RECIPE), None)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    split = jax.jit(transform, in_shardings=(rows, rows), out_shardings=rows)
    whole = jax.jit(transform)(images, _keys(8))
    np.testing.assert_allclose(split(images, _keys(8)), whole, atol=1e-2)
