"""Ten crops: which, how they are averaged, and that a mirrored image gets the same result to the last bit."""

import dataclasses

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from alexnet_jax.data import decode
from alexnet_jax.model import alexnet
from alexnet_jax.train import parts
from alexnet_jax.train.steps import make_eval_logits, make_eval_step
from alexnet_jax.train.ten_crop import places, ten_crop_logits
from tests.references import numbers, small_runs


def reference(logits_of, images, size):
    """Returns the logarithm of the mean of ten softmaxes, in NumPy."""
    height, width = images.shape[1:3]
    total = 0.0
    for view in (images, images[:, :, ::-1]):
        for top, left in (
            *((0, 0), (0, width - size), (height - size, 0), (height - size, width - size)),
            ((height - size) // 2, (width - size) // 2),
        ):
            logits = np.asarray(
                logits_of(jnp.array(view[:, top : top + size, left : left + size])), np.float64
            )
            exponentials = np.exp(logits - logits.max(1, keepdims=True))
            total = total + exponentials / exponentials.sum(1, keepdims=True)
    return np.log(total / 10)


def test_is_the_mean_of_ten_softmaxes():
    model = alexnet.create("cifar32")
    images = numbers.images(3, 36)
    ours = ten_crop_logits(model, jnp.array(images), 32)
    np.testing.assert_allclose(ours, reference(model, images, 32), atol=1e-5)
    np.testing.assert_allclose(np.exp(ours).sum(1), 1, rtol=1e-5)


def test_a_confident_network_has_finite_logits():
    def certain(crops):
        return jnp.array([[400.0, 0.0]]) * jnp.ones((crops.shape[0], 1))

    logits = ten_crop_logits(certain, jnp.zeros((2, 4, 4, 3)), 2)
    np.testing.assert_allclose(logits, [[0, -400]] * 2, atol=1e-4)


@pytest.mark.parametrize("pixels", [256, 258])
def test_a_mirrored_image_is_evaluated_identically(pixels):
    """Also where the margin, 256 - 227, is odd and the centre crop has no mirror image among the crops."""
    model = alexnet.create("paper2012", num_classes=10)
    images = jnp.array(numbers.images(1, pixels))
    run = jax.jit(lambda images: ten_crop_logits(model, images, 227))
    upright, mirrored = run(images), run(images[:, :, ::-1])
    np.testing.assert_array_equal(upright, mirrored)
    assert not np.array_equal(
        model(images[:, :227, :227]), model(images[:, :227, ::-1][:, :, :227])
    )


def test_places_of_the_paper():
    assert places(256, 256, 224).tolist() == [[0, 0], [0, 32], [32, 0], [32, 32], [16, 16]]


def test_the_host_ships_the_whole_square():
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(small_runs.pixels(1, 96)[0][:64]).save(file, "PNG")
    generator = np.random.default_rng(0)
    shipped = decode.PROTOCOLS["ten_crop"](40, 32)(file.getvalue(), generator)
    np.testing.assert_array_equal(shipped, decode.center(40, 40)(file.getvalue(), generator))
    assert shipped.shape == (40, 40, 3)


@pytest.mark.parametrize(("resize", "expected"), [(None, 37), (48, 48)])
def test_evaluates_a_run(tmp_path, resize, expected):
    small = small_runs.config(eval__protocol="ten_crop", num_epochs=1)
    small.eval.resize_pixels = resize
    assert parts.eval_resize_pixels(small) == expected
    final = small_runs.train(small, tmp_path)
    assert final.num_examples == 16


def test_the_step_transforms_then_crops():
    _, state, goal = small_runs.step_and_state()
    batch = small_runs.batch_of(small_runs.pixels(4), np.arange(4))
    whole = dataclasses.replace(goal, transform=dataclasses.replace(goal.transform, image_size=40))
    sums = jax.jit(make_eval_step(whole, make_eval_logits(whole, ten_crop_pixels=32)))(state, batch)
    images = np.asarray(whole.transform(jnp.array(batch["image"])))
    model = goal.model.bind(state.params, state.model_state)
    expected = -reference(model, images, 32)[np.arange(4), np.arange(4)].sum()
    assert float(sums["loss"]) == pytest.approx(expected, rel=1e-4)
