"""Images gathered on the device: the same runs as from the host, and when that is chosen."""

import jax
import numpy as np
import pytest

from alexnet_jax import config as configuration
from alexnet_jax.data.sources.base import ArraySource
from alexnet_jax.model.variants import get_variant
from alexnet_jax.train import experiment, loop, resident
from alexnet_jax.train.parallel import JitStrategy


class _Shaped(ArraySource):
    shapes = np.tile(np.array([[8, 12]], np.int32), (24, 1))


def _source(seed: int, kind=ArraySource):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (24, 12, 12, 3), np.uint8)
    return kind(images, np.arange(24, dtype=np.int32) % 2, ("a", "b"))


def _config(setting: str):
    config = configuration.default_config()
    config.model.variant, config.model.num_classes, config.model.precision = "cifar32", 2, "float32"
    config.data.source, config.data.resident = "digits", setting
    config.batch_size, config.num_epochs = 8, 1
    config.augment.crop, config.augment.flip_probability = "random_resized", 0.5
    return config


def _build(setting: str, device_count: int, parallelism: str = "jit", together: int = 0):
    sources = {"train": _source(0, _Shaped), "eval": _source(1)}
    config = _config(setting)
    config.parallelism = parallelism
    config.steps_per_dispatch = together
    return experiment.build(config, sources, jax.devices("cpu")[:device_count])


@pytest.mark.parametrize(("device_count", "parallelism"), [(1, "jit"), (4, "jit"), (4, "pmap")])
def test_batches_are_the_same_as_from_the_host(device_count, parallelism):
    there = _build("true", device_count, parallelism, together=3)
    here = _build("false", device_count, parallelism)
    assert set(there.resident) == {"train", "eval"}
    assert here.resident == {}
    shipped = next(there.train_batches(1))
    assert shipped["steps"]["image"].dtype == np.int32  # four bytes an image
    for one, other in zip(there.eval_batches(), here.eval_batches(), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
            assert one[name].sharding.is_equivalent_to(other[name].sharding, one[name].ndim)
    ours, theirs = (run.train_batches(1) for run in (there, here))
    batch = next(ours)
    for step, other in zip(range(batch["count"]), theirs, strict=True):
        indices = batch["steps"]["image"][step]
        np.testing.assert_array_equal(there.sources["train"].images[indices], other["image"])
        for name in ("label", "mask", "row", "shape"):
            np.testing.assert_array_equal(batch["steps"][name][step], other[name])


def test_runs_end_with_the_same_bits(tmp_path):
    results = [loop.train(_build(setting, 1), tmp_path / setting) for setting in ("true", "false")]
    assert results[0] == results[1]


def test_auto_asks_the_device_for_its_memory(monkeypatch):
    sources = {"train": _source(0), "eval": _source(1)}
    needed = 2 * 24 * 12 * 12 * 3
    devices = jax.devices("cpu")[:1]
    for available, expected in [(None, False), (4 * needed, True), (4 * needed - 4, False)]:
        monkeypatch.setattr(resident, "memory_bytes", lambda device, n=available: n)
        assert resident.is_resident("auto", sources, devices) is expected
        assert resident.is_resident("true", sources, devices)
        assert not resident.is_resident("false", sources, devices)


def test_impossible_requests_are_explained():
    config = _config("true")
    config.data.source = "synthetic"
    config.data.synthetic_examples = 1000
    faults = experiment.data_faults(config, experiment.open_sources(config))
    assert [fault.text for fault in faults] == [
        (
            "data.resident='true' is not possible: the images are not arrays of one size; pack them first "
            "(python -m alexnet_jax pack), or use 'auto'."
        )
    ]
    config.data.resident = "yes"
    texts = [fault.text for fault in configuration.validate(config)]
    assert texts == ["data.resident='yes' is unknown; use one of: auto, true, false."]


def test_the_images_lie_whole_on_every_device():
    strategy = JitStrategy(jax.devices("cpu")[:4], get_variant("cifar32"))
    held = resident.Resident(_source(0), strategy)
    assert held._images.sharding.is_fully_replicated
    indices = np.array([3, 0, 23, 3], np.int32)
    placed = held.place_batch({"image": indices})
    np.testing.assert_array_equal(placed["image"], _source(0).images[indices])
