"""What training scripts of PyTorch save, written here without PyTorch: the arrays among other things, and renamed."""

import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file

import alexnet_jax
from alexnet_jax.errors import RequestError
from tests.model.weights.torch_pickles import tensor_call, write_zip

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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("features.", "features.module."),  # the ImageNet example, of an AlexNet
        ("features.", "features._orig_mod."),  # torch.compile of a part
        ("", "module."),
        ("", "_orig_mod.module."),
        ("", "model."),  # Lightning
        ("", "model._orig_mod."),
    ],
)
def test_names_of_a_wrapped_network_or_part(arrays, before, after, tmp_path):
    renamed = {name.replace(before, after, 1): array for name, array in arrays.items()}
    assert renamed.keys() != arrays.keys()
    check(write(tmp_path / "alexnet.pth", {"state_dict": renamed}), arrays)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("features.module.0.weight", "features.module.0.weight"),  # else two of one name
        ("features.submodule.0.weight", "features.submodule.0.weight"),
        ("model.0.weight", "model.0.weight"),  # not before every name
        ("module", "module"),
    ],
)
def test_names_that_no_wrapper_explains_are_unknown(arrays, name, told, tmp_path):
    more = {**arrays, name: np.zeros(2, np.float32)}
    file = write(tmp_path / "alexnet.pth", more)
    with pytest.raises(RequestError, match=rf"is not {VARIANT}:\n  unknown: {told}\n"):
        alexnet_jax.load(file, VARIANT)
