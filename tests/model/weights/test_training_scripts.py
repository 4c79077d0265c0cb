"""What training scripts of PyTorch save, written here without PyTorch: the arrays among other things, and renamed."""

import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file

import alexnet_jax
from tests.model.weights.test_torch_file import tensor_call, write_zip

VARIANT = "cifar32"


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Returns a network's arrays by PyTorch's names."""
    path = tmp_path_factory.mktemp("weights") / "cifar32.safetensors"
    alexnet_jax.save(alexnet_jax.create(VARIANT, num_classes=3, seed=1), path)
    return load_file(path)


def write(path, value):
    """Writes what torch.save would of nested dictionaries of float32 arrays and plain values."""
    storages = {}
    content = b"\x80\x02" + _encoded(value, storages) + b"."
    return write_zip(path, content, storages)


def _encoded(value, storages):
    if isinstance(value, dict):
        flat = (_encoded(part, storages) for item in value.items() for part in item)
        return b"}(" + b"".join(flat) + b"u"
    if isinstance(value, np.ndarray):
        key = str(len(storages))
        storages[key] = value.astype(np.float32).tobytes()
        strides = tuple(step // value.itemsize for step in value.strides)
        return tensor_call(value.shape, strides, length=value.size, key=key)
    return pickle.dumps(value, 2)[2:-1]


def check(path, arrays, variant=None):
    model = alexnet_jax.load(path, variant)
    assert (model.variant.name, model.num_classes) == (VARIANT, 3)
    expected = arrays["features.3.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(model.conv2.kernel, expected)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "net"])
def test_a_tensor_beside_the_state_dict(arrays, wrapper, tmp_path):
    """PyTorch's own ImageNet example notes its best accuracy as a tensor without axes."""
    beside = {"epoch": 9, "arch": "alexnet", "best_acc1": np.array(0.5, np.float32)}
    optimizer = {"state": {0: {"momentum_buffer": np.zeros(3, np.float32)}}, "param_groups": []}
    checkpoint = {**beside, wrapper: arrays, "optimizer": optimizer}
    check(write(tmp_path / "checkpoint.pth.tar", checkpoint), arrays)
