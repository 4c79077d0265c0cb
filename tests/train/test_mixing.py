"""Mixup and CutMix: shares, boxes and the loss they lead to, against NumPy on the same draws."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from alexnet_jax.train.losses import smoothed_targets
from alexnet_jax.train.mixing import Mixing, cutmix_mask, mix, mixup_mask, neighbour
from tests.references import numbers, small_runs


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def masks(function, alpha, count=2000, height=24, width=32):
    return np.asarray(jax.vmap(lambda key: function(key, alpha, height, width))(keys(count)))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixup_weights_are_one_an_image_from_a_beta_distribution(alpha):
    drawn = masks(mixup_mask, alpha)
    weights = drawn[:, 0, 0]
    assert (drawn == weights[:, None, None]).all()
    variance = 1 / (4 * (2 * alpha + 1))
    assert weights.mean() == pytest.approx(0.5, abs=5 * np.sqrt(variance / 2000))
    assert weights.var() == pytest.approx(variance, rel=0.15)


def test_cutmix_masks_are_boxes_of_the_images_shape():
    drawn = masks(cutmix_mask, 1.0)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    inside = drawn == 0
    rows, columns = inside.any(2), inside.any(1)
    np.testing.assert_array_equal(inside, rows[:, :, None] & columns[:, None, :])
    for sides in (rows, columns):  # in one piece
        assert (np.abs(np.diff(sides.astype(int), axis=1)).sum(1) <= 2).all()
    heights, widths = rows.sum(1), columns.sum(1)
    whole = (heights < 24) & (widths < 32) & ~inside[:, [0, -1]].any((1, 2))
    whole &= ~inside[:, :, [0, -1]].any((1, 2))
    assert whole.sum() > 100
    # Uncut boxes have the image's shape, but for pixels: whole numbers, and even ones.
    assert (np.abs(heights[whole] / 24 - widths[whole] / 32) <= 2 / 24 + 2 / 32).all()


def test_cutmix_areas():
    """A box of side s, of an image of side 1, keeps s - s² / 4 of it within, on average; s² is uniform."""
    inside = masks(cutmix_mask, 1.0, 1000, 96, 128) == 0
    assert inside.mean() == pytest.approx(1 / 2 - 1 / 5 + 1 / 48, abs=0.03)


def test_cutmix_centres_are_anywhere():
    drawn = masks(cutmix_mask, 1.0) == 0
    covered = drawn.mean(0)
    np.testing.assert_allclose(covered, covered[::-1], atol=0.06)
    np.testing.assert_allclose(covered, covered[:, ::-1], atol=0.06)
    assert covered[12, 16] > covered[0, 0] > 0.05


@pytest.mark.parametrize("mixing", [Mixing(0.4, 0.0), Mixing(0.0, 1.0), Mixing(0.4, 1.0)])
def test_every_image_is_mixed_with_the_row_before(mixing):
    images = numbers.uniform("mixed", (64, 12, 12, 3))
    other = np.concatenate([images[-1:], images[:-1]])
    np.testing.assert_array_equal(neighbour(jnp.array(images)), other)
    mixed, shares = (np.asarray(x) for x in mix(mixing, keys(64), jnp.array(images), other))
    own = ((mixed - other) / (images - other)).mean(-1)  # weight of the own pixel
    np.testing.assert_allclose(own.mean((1, 2)), shares, atol=1e-3)
    constant = own.std((1, 2)) < 1e-3
    pasted = np.isclose(own, 0, atol=1e-3) | np.isclose(own, 1, atol=1e-3)
    assert (constant | pasted.all((1, 2))).all()
    if mixing.mixup_alpha and mixing.cutmix_alpha:
        assert 15 < constant.sum() < 55  # one or the other
    else:
        assert constant.all() if mixing.mixup_alpha else constant.mean() < 0.3


def test_the_loss_is_against_the_mixed_distribution():
    mixing = Mixing(0.0, 1.0)
    step, state, goal = small_runs.step_and_state(
        objective={"mixing": mixing, "label_smoothing": 0.1, "smoothing_form": "other_classes"}
    )
    batch = small_runs.batch_of(small_runs.pixels(8), np.arange(8))
    _, sums = step(state, batch)
    from alexnet_jax.randomness import example_keys

    row_keys = example_keys(0, jnp.int32(0), jnp.arange(8))
    images = goal.transform(jnp.array(batch["image"]), row_keys)
    images, share = mix(mixing, row_keys, images, jnp.roll(images, 1, axis=0))
    logits, _ = goal.model.apply(state.params, state.model_state, images)
    targets = np.asarray(smoothed_targets(jnp.arange(8), 10, 0.1, "other_classes"))
    share = np.asarray(share)[:, None]
    mixed = share * targets + (1 - share) * np.roll(targets, 1, axis=0)
    np.testing.assert_allclose(mixed.sum(1), 1, rtol=1e-6)
    logarithms = np.asarray(jax.nn.log_softmax(logits))
    assert float(sums["loss"]) == pytest.approx(-(mixed * logarithms).sum(), rel=1e-5)
