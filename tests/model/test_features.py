"""Every activation against what forward hooks see in the network of PyTorch's own layers."""

import jax
import numpy as np
import pytest

import alexnet_jax
from alexnet_jax.model import functional
from tests.references.networks import NETWORKS

SIZES = {"torchvision": 63, "deepspark": 32, "cifar32": 32}
KINDS = {"relu": "relu", "lrn": "norm", "pool": "pool", "average": "avgpool"}


def our_names(variant):
    """Returns our name of each layer of ``NETWORKS``, in order."""
    number, names = 0, []
    for kind, *_ in NETWORKS[variant]:
        number += kind in ("conv", "dense")
        if kind == "dense":
            names.append(f"fc{number}")
        elif kind in ("average", "flatten"):
            names.append(KINDS.get(kind, kind))
        else:
            names.append(f"{KINDS.get(kind, kind)}{number}")
    return names


def hooked(variant, model, images):
    """Returns the output of every layer of PyTorch's network with the model's weights, by our names."""
    torch = pytest.importorskip("torch")
    from tests.references import torch_network

    _, params, statistics = functional.split(model)
    network = torch_network.build(
        variant, image_size=images.shape[1], num_classes=7, conv_bias="bias" in params["conv1"]
    )
    torch_network.load(network, params, jax.tree.map(np.asarray, statistics)).eval()
    names, outputs = iter(our_names(variant)), {}

    def keep(module, _, output):
        if not isinstance(module, torch_network.SamePadding):
            outputs[next(names)] = output.detach().numpy()

    for module in network:
        module.register_forward_hook(keep)
    with torch.no_grad():
        network(torch_network.inputs(images))
    return outputs


@pytest.mark.parametrize("variant", SIZES)
def test_every_feature_is_what_pytorchs_hooks_see(variant):
    size = SIZES[variant]
    model = alexnet_jax.create(variant, num_classes=7, image_size=size)
    images = np.asarray(jax.random.normal(jax.random.key(1), (2, size, size, 3)))
    expected = hooked(variant, model, images)
    features = model.features(images, flatten=True)
    assert list(features) == list(expected)
    for name, ours in features.items():
        theirs = expected[name]
        if theirs.ndim == 4:
            theirs = theirs.transpose(0, 2, 3, 1)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5, err_msg=name)


def test_flatten_is_asked_for():
    images = jax.numpy.zeros((1, 32, 32, 3))
    assert "flatten" not in alexnet_jax.create("cifar32").features(images)
