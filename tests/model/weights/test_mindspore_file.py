"""MindSpore's checkpoints, encoded here by hand from the wire format of protocol buffers."""

import jax
import numpy as np
import pytest

import alexnet_jax
from alexnet_jax.errors import RequestError
from alexnet_jax.model import functional
from alexnet_jax.model.weights import files
from alexnet_jax.model.weights.write import published_arrays

TYPES = {"float32": "Float32", "float16": "Float16", "int32": "Int32"}


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def entry(name, array, kind=None, content=None):
    dims = b"".join(b"\x08" + varint(n) for n in (array.shape or (0,)))
    kind = kind or TYPES[array.dtype.name]
    content = array.tobytes() if content is None else content
    tensor = dims + field(2, kind.encode()) + field(3, content)
    return field(1, field(1, name.encode()) + field(2, tensor))


def checkpoint(arrays):
    return b"".join(entry(name, array) for name, array in arrays.items())


@pytest.mark.parametrize("variant", ["ascend_mindspore", "mindspore_2022", "mindspore_cifar"])
def test_there_and_back(variant, tmp_path):
    """With what its optimizer leaves in a checkpoint; at a smaller image, for the time it takes."""
    model = alexnet_jax.create(variant, num_classes=3, image_size=67)
    arrays = published_arrays(model)
    assert ("conv1.bias" in arrays) == (variant != "mindspore_cifar")
    assert arrays["conv1.weight"].shape[1:] == (3, 11, 11)
    assert arrays["fc3.weight"].shape == (3, 4096)
    optimizer = {
        "moments.fc3.bias": np.zeros(3, np.float32),
        "learning_rate": np.zeros(5, np.float32),
        "global_step": np.zeros(1, np.int32),
        "epoch_num": np.array(3, np.int32),
    }
    (tmp_path / "alexnet.ckpt").write_bytes(checkpoint(arrays | optimizer))
    loaded = alexnet_jax.load(tmp_path / "alexnet.ckpt", variant, image_size=67)
    trees = [functional.split(model)[1] for model in (model, loaded)]
    jax.tree.map(np.testing.assert_array_equal, *trees)


def test_the_first_dense_layer_sees_channels_first():
    """Row c * 36 + y * 6 + x of theirs is row (y * 6 + x) * 256 + c of ours."""
    model = alexnet_jax.create("mindspore_2022", num_classes=3)
    theirs = published_arrays(model)["fc1.weight"]
    channel, y, x = 201, 2, 5
    row = np.asarray(model.fc6.kernel)[(y * 6 + x) * 256 + channel]
    np.testing.assert_array_equal(theirs[:, channel * 36 + y * 6 + x], row)


def test_kinds_of_entries(tmp_path):
    large = np.arange(6, dtype=np.float16).reshape(2, 3)
    bfloat16 = entry("b", np.ones(2, np.float16), "BFloat16", b"\x80\x3f\x40\x40")  # 1 and 3
    parts = [
        entry("sliced", large, content=part) for part in (large[:1].tobytes(), large[1:].tobytes())
    ]
    content = b"".join(
        [*parts, entry("scalar", np.array(7, np.int32)), bfloat16, entry("s", large, "String")]
    )
    (tmp_path / "a.ckpt").write_bytes(content)
    stored = files.read(tmp_path / "a.ckpt")
    assert stored.others == ("s",)
    np.testing.assert_array_equal(stored.arrays["sliced"].read(), large)
    assert stored.arrays["scalar"].read().tolist() == 7
    assert stored.arrays["b"].read().tolist() == [1, 3]


def test_damaged_checkpoints_are_refused(tmp_path):
    array = np.ones((2, 3), np.float32)
    for content in (entry("a", array, content=b"123"), entry("a", array)[:-2], b"\nabcdefgh"):
        (tmp_path / "bad.ckpt").write_bytes(content)
        with pytest.raises(RequestError, match="is not a sound MindSpore checkpoint: "):
            files.read(tmp_path / "bad.ckpt")
