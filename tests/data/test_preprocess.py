"""What ``alexnet_jax.preprocess`` makes of files, images and arrays, against Pillow and the formula."""

import re

import numpy as np
import pytest
from PIL import Image

import alexnet_jax
from alexnet_jax.errors import RequestError
from tests.data import photos

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def torchvisions(image):
    """Resize(256), CenterCrop(224), ToTensor and Normalize, in NHWC."""
    width, height = image.size
    small = image.resize((int(256 * width / height), 256), Image.Resampling.BILINEAR)
    left = round((small.width - 224) / 2)
    pixels = np.asarray(small.crop((left, 16, left + 224, 240)))
    return (pixels / 255 - MEAN) / STD


def test_every_kind_of_image_gives_the_same(tmp_path):
    image = photos.photo(0, 400, 300)
    image.save(tmp_path / "a.png")
    encoded = (tmp_path / "a.png").read_bytes()
    kinds = [str(tmp_path / "a.png"), tmp_path / "a.png", image, np.asarray(image), encoded]
    batch = alexnet_jax.preprocess(kinds)
    assert batch.shape == (5, 224, 224, 3)
    assert batch.dtype == np.float32
    for row in batch:
        np.testing.assert_allclose(row, torchvisions(image), atol=1e-5)


def test_grey_images_become_rgb():
    image = photos.photo(1, 300, 300).convert("L")
    one, other = alexnet_jax.preprocess([image, np.asarray(image)])
    np.testing.assert_array_equal(one, other)
    pixels = one * STD + MEAN
    np.testing.assert_allclose(pixels[..., 0], pixels[..., 2], atol=1e-5)


def test_another_look():
    image = photos.photo(0, 64, 40)
    (own,) = alexnet_jax.preprocess(
        [image], image_size=32, resize_pixels=32, protocol="squash", mean=(0, 0, 0), std=(1, 1, 1)
    )
    squashed = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(own, squashed / 255, atol=1e-6)


def test_no_images_are_no_rows():
    assert alexnet_jax.preprocess([]).shape == (0, 224, 224, 3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["missing.jpg"], "missing.jpg: there is no such file."),
        ([b"no image"], "images[0] is not an image that can be read (cannot identify image file)"),
        ([np.zeros((4, 4, 3))], "images[0] is a float64 array of shape (4, 4, 3); give uint8"),
        ([np.zeros((4, 4, 2), np.uint8)], "of shape (4, 4, 2)"),
        ("a.jpg", "preprocess takes a list of images; got one str."),
        ([photos.jpeg(0)[:500]], "images[0] is not an image that can be read"),
    ],
)
def test_what_is_no_image_is_refused(images, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        alexnet_jax.preprocess(images)


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 1), (40, 50, 3), (40, 50, 4)])
def test_an_array_that_is_one_image_is_refused(shape):
    """Its rows would pass for grey images."""
    message = f"preprocess takes a list of images; got one array of shape {shape}. Use preprocess([image])."
    with pytest.raises(RequestError, match=re.escape(message)):
        alexnet_jax.preprocess(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("shape", [(2, 40, 50), (2, 40, 50, 3), (1, 4, 4, 3)])
def test_an_array_may_be_a_batch(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    one_by_one = alexnet_jax.preprocess(list(images))
    np.testing.assert_array_equal(alexnet_jax.preprocess(images), one_by_one)


def test_a_file_that_is_no_image_is_named(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not pixels")
    with pytest.raises(RequestError) as refused:
        alexnet_jax.preprocess([path])
    message = str(refused.value)
    assert message.startswith(f"{path} is not an image that can be read (")
    assert message.endswith("); give a JPEG or PNG file.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "ten_crop"}, "protocol='ten_crop' is unknown; use one of: center, squash"),
        ({"resize_pixels": 100}, "image_size=224 cannot be cut out of resize_pixels=100"),
    ],
)
def test_what_cannot_be_asked_for(options, message):
    with pytest.raises(RequestError, match=message):
        alexnet_jax.preprocess([], **options)
