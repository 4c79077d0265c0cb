import io

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from alexnet_jax.data import decode
from alexnet_jax.data.broken import BrokenImages


def _gradient(width: int, height: int) -> np.ndarray:
    """An image whose red is the column and green the row, so that crops can be read off."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)


def _encode(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _generator(number: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(number))


def test_center_resizes_the_shorter_side_and_crops_the_middle():
    pixels = _gradient(200, 100)
    image = decode.center(100, 64)(_encode(pixels), _generator())
    np.testing.assert_array_equal(image, pixels[18:82, 68:132])


@pytest.mark.parametrize("resize", [256, 232, 37])
def test_every_shape_is_resized_as_torchvision_does(resize):
    """Its formula of the longer side, ``int(size * long / short)``: 161 x 322 gives 256 x 512, not 511."""
    plan = decode.shorter_side(resize)
    wrong = [
        (width, height)
        for width in range(1, 701)
        for height in range(width, 701)
        if plan(width, height)[1] != (resize, int(resize * height / width))
        or plan(height, width)[1] != (int(resize * height / width), resize)
    ]
    assert wrong == []


def test_squash_resizes_both_sides():
    pixels = _gradient(200, 100)
    image = decode.squash(80, 64)(_encode(pixels), _generator())
    whole = Image.fromarray(pixels).resize((80, 80), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(image, np.asarray(whole)[8:72, 8:72])


def test_random_resized_crop_is_the_drawn_box():
    pixels = _gradient(200, 100)
    crop = decode.random_resized_crop(48, (0.08, 1.0), (3 / 4, 4 / 3))(
        _encode(pixels), _generator(5)
    )
    box = decode.draw_crop(_generator(5), 200, 100, (0.08, 1.0), (3 / 4, 4 / 3))
    cut = Image.fromarray(pixels).crop(box).resize((48, 48), Image.Resampling.BILINEAR)
    assert crop.shape == (48, 48, 3)
    assert np.abs(crop.astype(int) - np.asarray(cut)).max() <= 1


def test_drawn_boxes_have_the_recipe_s_areas_and_shapes():
    generator = _generator()
    boxes = [
        decode.draw_crop(generator, 500, 375, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(3000)
    ]
    left, upper, right, lower = np.array(boxes).T
    width, height = right - left, lower - upper
    assert left.min() >= 0
    assert upper.min() >= 0
    assert right.max() <= 500
    assert lower.max() <= 375
    area, ratio = width * height / (500 * 375), width / height
    assert area.min() > 0.078
    assert area.max() <= 1
    assert ratio.min() > 0.73
    assert ratio.max() < 1.36
    # Below half the area every shape fits, so there the areas are uniform.
    below = area[area < 0.5]
    assert abs(np.mean(below) - 0.29) < 0.01
    assert abs(np.mean(np.log(ratio[area < 0.5]))) < 0.02


def test_an_image_no_crop_fits_is_cropped_in_the_middle():
    """A strip 100 times as wide as high: the largest allowed shape, centred."""
    box = decode.draw_crop(_generator(), 1000, 10, (0.9, 1.0), (3 / 4, 4 / 3))
    assert box == (493, 0, 506, 10)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "1"])
def test_every_mode_becomes_rgb(mode):
    buffer = io.BytesIO()
    kind = "JPEG" if mode in ("L", "CMYK") else "PNG"
    Image.fromarray(_gradient(60, 60)).convert(mode).save(buffer, kind)
    image = decode.center(40, 32)(buffer.getvalue(), _generator())
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8


def test_orientation_in_exif_is_ignored():
    """As every ImageNet pipeline: pixels as they are stored."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate
    pixels = _gradient(80, 40)
    plain, rotated = (_encode(pixels, "JPEG", quality=95, **o) for o in ({}, {"exif": exif}))
    images = [decode.center(40, 32)(encoded, _generator()) for encoded in (plain, rotated)]
    np.testing.assert_array_equal(*images)


def test_broken_images_raise():
    encoded = _encode(_gradient(60, 60), "JPEG")
    with pytest.raises(OSError, match="(?i)truncated"):
        decode.center(40, 32)(encoded[:-200], _generator())
    with pytest.raises(UnidentifiedImageError):
        decode.center(40, 32)(b"not an image", _generator())


def _damaged_dds() -> bytes:
    """Its pixel format, at byte 80 of the file, is none that there is."""
    encoded = bytearray(_encode(_gradient(60, 60), "DDS"))
    encoded[80:84] = bytes(4)
    return bytes(encoded)


def _damaged_avif() -> bytes:
    """The start of the pixels is overwritten; their header is whole."""
    encoded = bytearray(_encode(_gradient(60, 60), "AVIF"))
    place = encoded.find(b"mdat") - 3
    encoded[place : place + 8] = b"\xff" * 8
    return bytes(encoded)


Image.init()
DAMAGED = [_damaged_dds, *([_damaged_avif] if "AVIF" in Image.SAVE else [])]


@pytest.mark.parametrize("damaged", DAMAGED)
def test_damage_that_pillow_calls_a_runtime_error_is_a_broken_image(damaged):
    """As no other RuntimeError is: those of the program end a run."""
    broken = BrokenImages("train", 2, 0.5)
    loads = [damaged, lambda: _encode(_gradient(60, 60))]
    image = broken.first_readable(
        [], 0, lambda index: decode.center(40, 32)(loads[index](), _generator())
    )
    assert image.shape == (32, 32, 3)
    assert (broken.found(), broken.retries) == ([0], 0)
    with pytest.raises(RuntimeError, match="of the program"):
        broken.first_readable([], 1, _failing)


def _failing(index: int) -> None:
    raise RuntimeError("of the program")
