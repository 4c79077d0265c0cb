"""Logits of every variant against a NumPy network, PyTorch, and arrays PyTorch computed once."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from alexnet_jax.model import alexnet, functional
from alexnet_jax.model.variants import get_variant, variants
from tests.references import numbers, numpy_network

# Image sizes: the publisher's, or less where that would only cost time; torchvision's adaptive pooling from a map
# smaller than 6 x 6 (63 pixels) and from one that 6 does not divide (300: 8 x 8).
CASES = [
    *((name, get_variant(name).image_size) for name in variants() if name != "deepspark"),
    *(("deepspark", 64), ("torchvision", 63), ("torchvision", 300)),
]
CLASSES = 7
GOLDEN = json.loads((Path(__file__).parents[1] / "references" / "golden.json").read_text())


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def network(request):
    """Returns (variant, size, params, statistics, images, our logits)."""
    variant, size = request.param
    abstract = nnx.eval_shape(lambda: alexnet.create(variant, num_classes=CLASSES, image_size=size))
    model, *shapes = functional.split(abstract)
    params, statistics = (numbers.weights_like(tree) for tree in shapes)
    images = numbers.images(2, size)
    logits, _ = jax.jit(model.apply)(params, statistics, images)
    assert logits.dtype == np.float32
    return variant, size, params, statistics, images, np.asarray(logits)


def assert_close(logits, reference):
    assert reference.std() > 0.1  # weights that kept the signal alive
    np.testing.assert_allclose(logits, reference, rtol=0, atol=2e-5 * np.abs(reference).max())


def test_logits_are_numpys(network):
    variant, _, params, statistics, images, logits = network
    assert_close(logits, numpy_network.logits(variant, params, statistics, images))


def test_logits_are_pytorchs(network):
    torch = pytest.importorskip("torch")
    from tests.references import torch_network

    variant, size, params, statistics, images, logits = network
    reference = torch_network.build(
        variant, image_size=size, num_classes=CLASSES, conv_bias=variant != "mindspore_cifar"
    )
    torch_network.load(reference, params, statistics).eval()
    with torch.no_grad():
        assert_close(logits, reference(torch_network.inputs(images)).numpy())


@pytest.mark.parametrize(
    "network", [("torchvision", 63), ("cifar32", 32), ("deepspark", 64)], indirect=True
)
def test_logits_are_those_pytorch_gave_once(network):
    variant, *_, logits = network
    assert_close(logits, np.array(GOLDEN["logits"][variant]))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_logits_are_not_rounded_to_the_layers_precision(dtype):
    model = alexnet.create("cifar32", dtype=np.dtype(dtype), num_classes=100)
    logits = model(numbers.images(2, 32))
    assert logits.dtype == np.float32
    assert (logits != logits.astype(dtype)).mean() > 0.9
