import jax
import numpy as np
import pytest

from alexnet_jax.model.variants import get_variant, variants
from alexnet_jax.randomness import example_keys
from alexnet_jax.train.pictures import FIRST_LAYER, Pictures, filter_grid
from tests.train.runs import build, small_config


class _Writer:
    def __init__(self):
        self.written = {}

    def picture(self, name, pixels, step):
        self.written[step, name] = pixels


def test_samples_are_what_the_step_trains_on():
    """Row by row the images of the whole batch, by the step's own keys, before normalisation."""
    run = build(small_config(**{"batch_size": 12, "augment.flip_probability": 0.5}))
    writer = _Writer()
    Pictures(run, writer).write(3, run.initial_state)
    batch, _ = run.sources["train"].gather(run.train_order.indices(3))
    keys = example_keys(run.config.seed, np.int32(3), np.arange(12, dtype=np.int32))
    images = jax.jit(run.objective.transform)(batch, keys)
    mean, std = np.array(run.config.data.mean), np.array(run.config.data.std)
    expected = np.concatenate(list((np.asarray(images[:8]) * std + mean) * 255), axis=1)
    shown = writer.written[3, "train/augmented"]
    assert shown.shape == (32, 8 * 32, 3)
    np.testing.assert_allclose(shown, expected, atol=1)
    kernel = np.asarray(run.initial_state.params[FIRST_LAYER]["kernel"])
    np.testing.assert_array_equal(writer.written[3, "filters"], filter_grid(kernel))


def test_mixed_samples_are_the_same_in_every_strategy():
    mixed = {"augment.mixup_alpha": 0.4, "batch_size": 8}
    shown = [
        Pictures(build(small_config(parallelism=strategy, **mixed), count), _Writer()).samples(0)
        for strategy, count in (("jit", 1), ("pmap", 4))
    ]
    np.testing.assert_array_equal(*shown)


@pytest.mark.parametrize("name", variants())
def test_every_variant_has_filters_of_colours(name):
    assert get_variant(name).layer_names[0] == FIRST_LAYER


def test_filters_are_laid_out_in_order():
    """Filter f is constant: its colour is full, positive or negative; zero is mid-grey."""
    kernel = np.zeros((3, 3, 3, 5), np.float32)
    kernel[..., 0, 1], kernel[..., 1, 2] = 0.5, -0.25
    grid = filter_grid(kernel, columns=4)
    assert grid.shape == (7, 15, 4)
    assert grid[0, 0].tolist() == [128, 128, 128, 255]
    assert grid[2, 4].tolist() == [255, 128, 128, 255]
    assert grid[0, 8].tolist() == [128, 0, 128, 255]
    assert grid[0, 3, 3] == grid[3, 0, 3] == grid[6, 14, 3] == 0
