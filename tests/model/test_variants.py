"""The counts that make a variant that variant (recipes as published; MACs at the publisher's input size)."""

import pytest

from alexnet_jax.errors import RequestError
from alexnet_jax.model.summary import summarize
from alexnet_jax.model.variants import get_variant, variants

# name: (parameters, MACs), with the publisher's number of classes
COUNTS = {
    "torchvision": (61_100_840, 714_188_480),
    "paper2012": (60_965_224, 724_406_816),
    "ascend_mindspore": (61_100_840, 716_767_232),
    "mindspore_cifar": (58_320_938, 1_131_201_056),
    "mindspore_2022": (60_113_448, 492_597_248),
    "deepspark": (29_102_376, 3_457_105_920),
    "cifar32": (2_472_266, 14_957_056),
}


def test_every_variant_has_golden_counts():
    assert set(variants()) == set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    summary = summarize(name)
    assert (summary.parameters, summary.macs) == COUNTS[name]


@pytest.mark.parametrize(
    ("name", "parameters"), [("torchvision", 57_044_810), ("mindspore_2022", 56_057_418)]
)
def test_parameters_with_ten_classes(name, parameters):
    assert summarize(name, num_classes=10).parameters == parameters


def test_layers_of_torchvision_in_order():
    layers = {layer.name: layer.output_shape for layer in summarize("torchvision").layers}
    assert list(layers) == [
        *("conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "conv3", "relu3", "conv4", "relu4"),
        *("conv5", "relu5", "pool5", "avgpool", "fc6", "relu6", "fc7", "relu7", "fc8"),
    ]
    assert layers["conv1"] == (55, 55, 64)
    assert layers["pool5"] == (6, 6, 256)
    assert layers["fc8"] == (1000,)


@pytest.mark.parametrize("name", COUNTS)
def test_smallest_image_size_is_the_smallest(name):
    variant = get_variant(name)
    least = variant.smallest_image_size()
    assert variant.feature_size(least) >= 1
    with pytest.raises(RequestError, match=f"use at least {least}"):
        variant.feature_size(least - 1)


def test_torchvision_takes_63_pixels_and_no_less():
    assert get_variant("torchvision").smallest_image_size() == 63


def test_unknown_variant_names_the_known_ones():
    with pytest.raises(
        RequestError, match=r"unknown variant 'alexnet'; the variants are: torchvision,"
    ):
        get_variant("alexnet")
