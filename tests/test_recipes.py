"""Every recipe: what makes it that recipe, in numbers; and that it trains."""

import math
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from alexnet_jax import config as configuration
from alexnet_jax.config import get
from alexnet_jax.errors import RequestError
from alexnet_jax.model.summary import summarize
from alexnet_jax.train import experiment, loop, parts
from alexnet_jax.train.losses import smoothed_targets
from alexnet_jax.train.optimizer import DECAY_MASKS
from alexnet_jax.train.writers import read_metrics

ROOT = Path(__file__).parents[1] / "configs"
FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py"))
EXAMPLES = {"folder": 1_281_167, "cifar10_binary": 50_000, "digits": 1_437}


def load(name):
    return configuration.load(f"{ROOT}/{name}")


def halved(peak, place):
    """Returns half a cosine from ``peak``, ``place`` of the way."""
    return peak * (1 + math.cos(math.pi * place)) / 2


# Learning rates by step: steps an epoch are whole batches of 1,281,167, 50,000 or 1,437 images.
S, A, A1 = 625, 1251, 10_009  # batches of 2048, 1024 and 128
RATES = {
    "imagenet.py": {
        0: 0.13 / (5 * S),
        1: 0.13 * 2 / (5 * S),
        5 * S - 1: 0.13,
        5 * S: 0.13,
        75 * S: halved(0.13, 70 / 145),
        150 * S - 1: halved(0.13, (145 * S - 1) / (145 * S)),
    },
    "published/ascend_mindspore.py": {
        0: 0.13 / (5 * S),
        1: 0.13 * 2 / (5 * S),
        5 * S - 1: 0.13,
        5 * S: halved(0.13, 5 / 150),  # 0.12964
        75 * S - 1: halved(0.13, 74 / 150),
        75 * S: 0.065,
        150 * S - 1: 1.4e-5,
    },
    "published/ascend_mindspore.py:1device": {0: 0.01625 / 25_020, 25_019: 0.01625},
    "published/ascend_pytorch.py": {
        0: 0.04,
        1: 0.04,
        A - 1: 0.04,
        A: halved(0.04, 1 / 90),
        45 * A: 0.02,
        90 * A - 1: halved(0.04, 89 / 90),
    },
    "published/ascend_pytorch.py:1device": {
        0: 0.01,
        45 * A1 - 1: halved(0.01, 44 / 90),
        45 * A1: 0.005,
        90 * A1 - 1: halved(0.01, 89 / 90),
    },
    "published/deepspark.py": {
        0: 0.01,
        1: 0.01,
        30 * S - 1: 0.01,
        30 * S: 0.001,
        60 * S - 1: 0.001,
        60 * S: 1e-4,
        90 * S - 1: 1e-4,
    },
    "published/deepspark.py:1device": {0: 0.1, 30 * 5004 - 1: 0.1, 30 * 5004: 0.01},
    "published/torchvision.py": {
        0: 0.01,
        1: 0.01,
        30 * 5004 - 1: 0.01,
        30 * 5004: 0.001,
        60 * 5004: 1e-4,
        90 * 5004 - 1: 1e-4,
    },
    "published/alexnet_pytorch.py": {
        0: 0.01,
        1: 0.01,
        30 * A1 - 1: 0.01,
        30 * A1: 0.001,
        45 * A1: 0.001,
        90 * A1 - 1: 1e-4,
    },
    "published/alexnet_pytorch.py:plateau": {0: 0.01, 1: 0.01, 45 * A1: 0.01, 90 * A1 - 1: 0.01},
    "published/mindspore_cifar10.py": {
        0: 0.002,
        1: 0.002,
        23_430: 0.002,
        37_487: 0.002,
        37_488: 0.0002,
        46_859: 0.0002,
    },
    "published/paper2012.py": {0: 0.01, 1: 0.01, 45 * A1: 0.01, 90 * A1 - 1: 0.01},
    "cifar10.py": {
        0: 0.02 / 390,
        1: 0.04 / 390,
        389: 0.02,
        390: 0.02,
        3120: 0.01,
        5849: halved(0.02, 5459 / 5460),
    },
    "finetune.py": {
        0: 0.001,
        5 * 40_036: 0.0005,
        10 * 40_036 - 1: halved(0.001, 1 - 1 / 400_360),
    },
    "digits.py": {
        0: 0.05 / 22,
        1: 0.1 / 22,
        21: 0.05,
        22: 0.05,
        341: 0.025,
        659: halved(0.05, 637 / 638),
    },
}

# (variant, parameters, batch, weight decay, biases decay too, target of the true class, of the others)
SMOOTHED, OTHERS = (0.9 + 0.1 / 1000, 0.1 / 1000), (0.9, 0.1 / 999)
FACTS = {
    "imagenet.py": ("ascend_mindspore", 61_100_840, 2048, 1e-4, False, *SMOOTHED),
    "published/ascend_mindspore.py": ("ascend_mindspore", 61_100_840, 2048, 1e-4, False, *OTHERS),
    "published/ascend_mindspore.py:1device": (
        *("ascend_mindspore", 61_100_840, 256, 1e-4, False),
        *OTHERS,
    ),
    "published/ascend_pytorch.py": ("torchvision", 61_100_840, 1024, 1e-4, True, *SMOOTHED),
    "published/ascend_pytorch.py:1device": ("torchvision", 61_100_840, 128, 1e-4, True, *SMOOTHED),
    "published/deepspark.py": ("deepspark", 29_102_376, 2048, 1e-4, True, 1, 0),
    "published/deepspark.py:1device": ("deepspark", 29_102_376, 256, 1e-4, True, 1, 0),
    "published/torchvision.py": ("torchvision", 61_100_840, 256, 1e-4, True, 1, 0),
    "published/alexnet_pytorch.py": ("torchvision", 61_100_840, 128, 5e-4, True, 1, 0),
    "published/alexnet_pytorch.py:plateau": ("torchvision", 61_100_840, 128, 5e-4, True, 1, 0),
    "published/mindspore_cifar10.py": ("mindspore_cifar", 58_320_938, 32, 0, None, 1, 0),
    "published/paper2012.py": ("paper2012", 60_965_224, 128, 5e-4, True, 1, 0),
    "cifar10.py": ("mindspore_cifar", 58_320_938, 256, 5e-4, False, 0.91, 0.01),
    "finetune.py": ("torchvision", 61_100_840, 32, 1e-4, False, 1, 0),
    "digits.py": ("cifar32", 2_472_266, 64, 5e-4, False, 1, 0),
}

# The rest of each row, as published: keys that differ from the defaults.
PUBLISHED = {
    "imagenet.py": {
        "num_epochs": 150,
        "model.precision": "bfloat16",
        "augment.crop": "random_resized",
        "augment.color_jitter": 0.4,
        "eval.protocol": "squash",
        "eval.resize_pixels": 256,
    },
    "finetune.py": {
        "model.num_classes": None,
        "optimizer.freeze": ("conv1", "conv2", "conv3", "conv4", "conv5"),
        "optimizer.head_learning_rate_factor": 10,
        "eval.resize_pixels": 0,
    },
    "published/ascend_mindspore.py": {
        "num_epochs": 150,
        "model.precision": "float16",
        "optimizer.loss_scale": "static",
        "optimizer.loss_scale_value": 1024,
        "augment.crop": "random_resized",
        "augment.color_jitter": 0,
        "eval.protocol": "squash",
        "eval.resize_pixels": 256,
    },
    "published/ascend_pytorch.py": {
        "num_epochs": 90,
        "model.precision": "float16",
        "optimizer.loss_scale": "dynamic",
        "augment.crop": "random_resized",
        "eval.protocol": "center",
        "eval.resize_pixels": 256,
    },
    "published/ascend_pytorch.py:float32": {
        "model.precision": "float32",
        "optimizer.loss_scale": "none",
    },
    "published/ascend_mindspore.py:float32": {
        "model.precision": "float32",
        "optimizer.loss_scale": "none",
    },
    "published/mindspore_cifar10.py": {
        "num_epochs": 30,
        "augment.crop": "pad",
        "augment.crop_padding_pixels": 4,
        "data.mean": (0.4914, 0.4822, 0.4465),
        "data.std": (0.2023, 0.1994, 0.2010),
    },
    "published/paper2012.py": {
        "num_epochs": 90,
        "augment.crop": "random",
        "augment.pca_noise": 0.1,
        "eval.protocol": "ten_crop",
        "eval.resize_pixels": 256,
        "schedule.plateau_metric": "top1",
        "schedule.plateau_factor": 0.1,
    },
    "published/alexnet_pytorch.py:plateau": {
        "schedule.plateau_metric": "loss",
        "schedule.plateau_factor": 0.1,
        "schedule.plateau_patience": 10,
        "schedule.plateau_threshold": 1e-4,
    },
}


def test_every_recipe_has_its_numbers():
    for table in (RATES, FACTS):
        assert {name.partition(":")[0] for name in table} == set(FILES)


@pytest.mark.parametrize("name", RATES)
def test_learning_rates(name):
    config = load(name)
    steps_per_epoch = EXAMPLES[config.data.source] // config.batch_size
    schedule = parts.schedule(config, steps_per_epoch)
    expected = RATES[name]
    assert {0, config.num_epochs * steps_per_epoch - 1} <= set(expected) or ":" in name
    for step, rate in expected.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=2e-6, abs=1e-6), step


def test_the_ascend_cosine_at_every_step():
    """recipes: i < 5S: .13 (i + 1) / 5S; else .13 (1 + cos(pi floor(i / S) / 150)) / 2."""
    schedule = parts.schedule(load("published/ascend_mindspore.py"), S)
    steps = np.arange(0, 150 * S, 41)
    rates = jax.vmap(schedule)(steps)
    expected = np.where(
        steps < 5 * S,
        0.13 * (steps + 1) / (5 * S),
        0.13 * (1 + np.cos(np.pi * (steps // S) / 150)) / 2,
    )
    np.testing.assert_allclose(rates, expected, rtol=2e-6)


@pytest.mark.parametrize("name", FACTS)
def test_facts(name):
    variant, parameters, batch_size, decay, biases, true, others = FACTS[name]
    config = load(name)
    assert configuration.validate(config) == []
    assert config.model.variant == variant
    assert summarize(variant, num_classes=config.model.num_classes).parameters == parameters
    assert config.batch_size == batch_size
    rule = config.optimizer
    assert (rule.momentum, rule.nesterov, rule.weight_decay) == (0.9, False, decay)
    if decay:
        leaves = {"conv1": {"kernel": 0, "bias": 0}, "bn1": {"scale": 0}}
        marks = DECAY_MASKS[rule.decay_mask](leaves)
        assert marks == {"conv1": {"kernel": True, "bias": biases}, "bn1": {"scale": biases}}
    classes = config.model.num_classes or 1000  # None: the data's
    (target,) = smoothed_targets(
        np.array([3]), classes, rule.label_smoothing, rule.label_smoothing_form
    )
    expected = np.full(classes, others)
    expected[3] = true
    np.testing.assert_allclose(target, expected, rtol=1e-6)
    flips = 0.0 if name == "digits.py" else 0.5
    assert config.augment.flip_probability == flips


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_rest_of_the_row(name):
    config = load(name)
    assert {key: get(config, key) for key in PUBLISHED[name]} == PUBLISHED[name]


@pytest.mark.parametrize("name", FILES)
def test_the_docstring_has_the_command_and_what_was_verified(name):
    text = (ROOT / name).read_text()
    assert f"python -m alexnet_jax.main --config configs/{name}" in text
    assert "erified" in text


@pytest.mark.parametrize("name", FILES)
def test_smoke_trains_and_evaluates(name, tmp_path):
    config = load(f"{name}:smoke")
    assert configuration.validate(config) == []
    sources = experiment.open_sources(config)
    run = experiment.build(config, sources, jax.devices("cpu")[:1])
    try:
        final = loop.train(run, tmp_path)
        assert final.num_examples == len(sources["eval"])
        assert math.isfinite(final.loss)
        assert {record["split"] for record in read_metrics(tmp_path)} == {"train", "eval"}
    finally:
        shutil.rmtree(tmp_path)  # checkpoints of 61 million parameters


@pytest.mark.parametrize("name", FILES)
def test_an_unknown_argument_is_refused(name):
    with pytest.raises(RequestError, match="unknown argument tpu; this recipe takes"):
        load(f"{name}:tpu")


@pytest.mark.parametrize("name", FILES)
def test_published_figures_are_those_of_the_docstring(name):
    """What the report shows beside a run, and what a reader of the recipe reads."""
    text = (ROOT / name).read_text().split('"""')[1]
    published = load(name).published
    for accuracy in (published.top1, published.top5):
        if accuracy is not None:
            assert f"{accuracy * 100:g} %" in text
    if published.images_per_second is not None:
        assert f"{published.images_per_second:,.0f}" in text
    stated = [line for line in text.splitlines() if line.startswith(("Published:", "To beat:"))]
    assert bool(published.source) == any("%" in line for line in stated)
    assert load(f"{name}:smoke").published.source == ""
