"""Mean, standard deviation and limits of every tensor a variant starts from, against its publication."""

import math

import numpy as np
import pytest

from alexnet_jax.model import alexnet, functional
from alexnet_jax.model.variants import variants

TRUNCATED = 0.8796256610342398  # standard deviation of N(0, 1) cut at two standard deviations

# What the paper sets to 1: section 5.
PAPER_ONES = {"conv2", "conv4", "conv5", "fc6", "fc7"}


def uniform(limit):
    return {"mean": 0, "std": limit / math.sqrt(3), "limit": limit}


def normal(sigma):
    return {"mean": 0, "std": sigma, "limit": None}


def constant(value):
    return {"mean": value, "std": 0, "limit": abs(value)}


def pytorch(layer, kind, fan_in, fan_out):
    return uniform(1 / math.sqrt(fan_in))


def ascend(layer, kind, fan_in, fan_out):
    if kind == "bias":
        return constant(0)
    return normal(math.sqrt(2 / fan_out) if layer.startswith("conv") else 0.01)


def mindspore_cifar(layer, kind, fan_in, fan_out):
    return {"mean": 0, "std": 0.02 * TRUNCATED, "limit": 0.04}


def paper(layer, kind, fan_in, fan_out):
    return normal(0.01) if kind == "kernel" else constant(float(layer in PAPER_ONES))


RULES = {
    "torchvision": pytorch,
    "deepspark": pytorch,
    "cifar32": pytorch,
    "ascend_mindspore": ascend,
    "mindspore_2022": ascend,
    "mindspore_cifar": mindspore_cifar,
    "paper2012": paper,
}


@pytest.mark.parametrize("variant", variants())
def test_every_tensor_starts_as_published(variant):
    # One class more than a thousand would change nothing but the classifier; 100 keep it quick.
    _, params, statistics = functional.split(alexnet.create(variant, num_classes=100))
    kernels = [leaves["kernel"] for leaves in params.values() if "kernel" in leaves]
    heads = {tuple(np.asarray(kernel).ravel()[:4]) for kernel in kernels}
    assert len(heads) == len(kernels)  # no two layers drew the same numbers
    for layer, leaves in params.items():
        if layer.startswith("bn"):
            assert (leaves["scale"] == 1).all()
            assert (leaves["bias"] == 0).all()
            assert (statistics[layer]["mean"] == 0).all()
            assert (statistics[layer]["var"] == 1).all()
            continue
        kernel = leaves["kernel"]
        fan_in = math.prod(kernel.shape[:-1])
        fan_out = kernel.shape[-1] * math.prod(kernel.shape[:-2])
        for kind, array in leaves.items():
            _assert_drawn(f"{layer}/{kind}", array, **RULES[variant](layer, kind, fan_in, fan_out))


def _assert_drawn(name, array, *, mean, std, limit):
    values = np.asarray(array)
    n = values.size
    # Five standard errors of a sample's mean and, at most a normal's kurtosis, of its deviation.
    assert abs(values.mean(dtype=np.float64) - mean) <= 5 * std / math.sqrt(n), name
    assert abs(values.std(dtype=np.float64) - std) <= 5 * std / math.sqrt(2 * n), name
    largest = np.abs(values).max()
    if limit is None:
        assert largest > 2.5 * std or n < 1000, name  # not cut off
    else:
        assert largest <= limit * (1 + 1e-6), name
        assert largest >= limit * (1 - 20 / n), name  # fills its range


def test_mean_and_deviation_would_notice_another_initialiser():
    draws = np.random.default_rng(0).uniform(-0.02, 0.02, 10_000)
    with pytest.raises(AssertionError, match="conv1/kernel"):
        _assert_drawn("conv1/kernel", draws, **normal(0.02))


def test_seed_and_layer_name_alone_decide_a_draw():
    first, again, other = (
        functional.split(alexnet.create("cifar32", seed=seed))[1] for seed in (0, 0, 1)
    )
    smaller = functional.split(alexnet.create("cifar32", num_classes=5))[1]
    assert (first["conv1"]["kernel"] == again["conv1"]["kernel"]).all()
    assert (first["conv5"]["kernel"] == smaller["conv5"]["kernel"]).all()
    assert not (first["conv1"]["kernel"] == other["conv1"]["kernel"]).any()
