"""Weights from PyTorch and back: the same logits there and here."""

import gc

import numpy as np
import pytest
from safetensors.numpy import load_file

import alexnet_jax
from tests.references import numbers

SIZES = {"torchvision": 63, "deepspark": 32, "cifar32": 32}
CLASSES = 5


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module", params=SIZES)
def network(request, torch):
    """Returns (variant, the publisher's network with random weights, images, its logits)."""
    from tests.references import torch_models

    variant = request.param
    torch.manual_seed(0)
    module = getattr(torch_models, variant)(CLASSES).eval()
    with torch.no_grad():
        for name, array in module.state_dict().items():
            if "running_mean" in name:
                array.copy_(0.1 * torch.from_numpy(numbers.uniform(name, array.shape)))
            elif "running_var" in name:
                array.copy_(1 + 0.5 * torch.from_numpy(numbers.uniform(name, array.shape)))
            elif array.ndim > 1:  # larger than PyTorch's own, so that the logits are
                torch.nn.init.kaiming_normal_(array)
    images = numbers.images(2, SIZES[variant])
    yield variant, module, images, forward(torch, module, images)
    gc.collect()


def forward(torch, module, images):
    with torch.no_grad():
        return module(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


@pytest.fixture(params=["zip", "legacy"])
def file(request, network, torch, tmp_path):
    path = tmp_path / "alexnet.pth"
    zipped = request.param == "zip"
    torch.save(network[1].state_dict(), path, _use_new_zipfile_serialization=zipped)
    yield path
    path.unlink()


def test_there_and_back(network, torch, file, tmp_path):
    variant, module, images, logits = network
    model = alexnet_jax.load(file, variant=variant)
    ours = np.asarray(model(images))
    assert logits.std() > 0.1
    np.testing.assert_allclose(ours, logits, rtol=0, atol=1e-4)

    alexnet_jax.save(model, tmp_path / "back.safetensors")
    arrays = load_file(tmp_path / "back.safetensors")
    (tmp_path / "back.safetensors").unlink()
    before = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    module.load_state_dict(state, strict=True)
    np.testing.assert_array_equal(forward(torch, module, images), logits)


@pytest.mark.parametrize("network", ["cifar32"], indirect=True)
@pytest.mark.parametrize("wrapper", ["state_dict", "model", "net"])
@pytest.mark.parametrize("precision", ["half", "bfloat16"])
def test_as_training_scripts_save_it(network, torch, wrapper, precision, tmp_path):
    """In a dictionary with other things, by the names of DataParallel, in half precision."""
    variant, module, *_ = network
    rounded = {name: getattr(t, precision)() for name, t in module.state_dict().items()}
    renamed = {f"module.{name}": tensor for name, tensor in rounded.items()}
    optimizer = torch.optim.SGD(module.parameters(), 0.1).state_dict()
    checkpoint = {wrapper: renamed, "epoch": 9, "optimizer": optimizer, "best_acc1": 0.5}
    torch.save(checkpoint, tmp_path / "checkpoint.pth.tar")
    model = alexnet_jax.load(tmp_path / "checkpoint.pth.tar", variant)
    expected = rounded["features.3.weight"].float().permute(2, 3, 1, 0).numpy()
    np.testing.assert_array_equal(model.conv2.kernel, expected)
    assert model.conv2.kernel.dtype == np.float32
