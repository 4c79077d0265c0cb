"""The fast decoder against plain Pillow."""

import io

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.data import decode
from tests.data.photos import encode, jpeg, odd_images, photo, truncated

AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)


def _generator(number: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(number))


def _pillow_rgb(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded)).convert("RGB")


def _pillow_center(encoded: bytes, resize: int, size: int) -> np.ndarray:
    image = _pillow_rgb(encoded)
    shorter = min(image.size)
    whole = image.resize(
        [resize if n == shorter else int(resize * n / shorter) for n in image.size],
        Image.Resampling.BILINEAR,
    )
    left, upper = (round((n - size) / 2) for n in whole.size)
    return np.asarray(whole.crop((left, upper, left + size, upper + size)))


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.filterwarnings("ignore:Palette images:UserWarning")
@pytest.mark.parametrize("kind", odd_images())
def test_whatever_the_file_is_evaluation_sees_pillow_s_pixels(kind):
    encoded = odd_images()[kind]
    image = decode.center(128, 112)(encoded, _generator())
    assert _difference(image, _pillow_center(encoded, 128, 112)) < 0.05


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpegs_are_decoded_to_pillow_s_pixels(subsampling):
    encoded = encode(photo(0), subsampling=subsampling)
    whole = decode.squash(190, 190)(encoded, _generator())
    other = _pillow_rgb(encoded).resize((190, 190), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(whole, np.asarray(other))


def test_the_crop_is_pillow_s_of_the_same_box():
    for number in range(20):
        encoded = jpeg(number)
        crop = decode.random_resized_crop(64, AREA, ASPECT)(encoded, _generator(number))
        box = decode.draw_crop(_generator(number), 250, 190, AREA, ASPECT)
        other = _pillow_rgb(encoded).resize((64, 64), Image.Resampling.BILINEAR, box=box)
        np.testing.assert_array_equal(crop, np.asarray(other))


@pytest.mark.parametrize("side", [48, 96, 112])
def test_large_jpegs_are_decoded_reduced_and_look_the_same(side, monkeypatch):
    encoded = encode(photo(0, 1280, 960), quality=95)
    sizes = []
    resize = decode.resize
    monkeypatch.setattr(
        decode, "resize", lambda image, *rest: sizes.append(image.size) or resize(image, *rest)
    )
    image = decode.center(side, side)(encoded, _generator())
    assert sizes[0][0] < 1280
    assert min(sizes[0]) >= 2 * side
    assert _difference(image, _pillow_center(encoded, side, side)) < 2


def test_a_crop_of_a_large_jpeg_is_the_drawn_box():
    encoded = encode(photo(0, 1280, 960), quality=95)
    for number in range(6):
        crop = decode.random_resized_crop(64, (0.1, 0.5), ASPECT)(encoded, _generator(number))
        box = decode.draw_crop(_generator(number), 1280, 960, (0.1, 0.5), ASPECT)
        other = _pillow_rgb(encoded).resize((64, 64), Image.Resampling.BILINEAR, box=box)
        assert _difference(crop, np.asarray(other)) < 2


def test_reductions_leave_twice_the_result():
    for side, factor in [(100, 1), (199, 1), (400, 2), (799, 2), (800, 4), (1600, 8), (9999, 8)]:
        assert decode._reduction((0, 0, side, side + 1), (100, 100)) == factor
    assert decode._reduction((0, 0, 400, 150), (100, 100)) == 1


def test_sixteen_bits_are_scaled_not_clipped():
    eight = np.arange(0, 256, 4, np.uint8).repeat(64).reshape(64, 64)
    sixteen = Image.fromarray(eight.astype(np.uint16) * 257)
    image = decode.squash(64, 64)(encode(sixteen, "PNG"), _generator())
    np.testing.assert_array_equal(image, eight[:, :, None].repeat(3, 2))


def test_truncated_images_raise_what_counts_as_unreadable():
    for encoded in (truncated(0), encode(photo(0), "PNG")[:5000], b"", b"\xff\xd8\xff", b"GIF89a"):
        with pytest.raises(decode.UNREADABLE):
            decode.center(40, 32)(encoded, _generator())
