"""PyTorch's files, read without PyTorch: what it wrote, and what nobody should."""

import io
import os
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from jax import numpy as jnp

import alexnet_jax
from alexnet_jax.errors import RequestError
from alexnet_jax.model.weights import files, torch_pickle
from tests.model.weights.torch_pickles import tensor, write_legacy, write_zip
from tests.references.numbers import uniform

GOLDEN = Path(__file__).parents[2] / "references" / "weights"


def expected():
    large = uniform("large", (4, 6))
    return {
        "plain": uniform("plain", (2, 3, 2, 2)),
        "parameter": uniform("parameter", (3,)),
        "double": uniform("double", (3,)).astype(np.float64),
        "half": uniform("half", (2, 3)).astype(np.float16),
        "bfloat16": uniform("bfloat16", (2, 3)).astype(jnp.bfloat16),
        "transposed": large.T,
        "part": large[1:, 1::2],
        "count": np.array(12),
        "nothing": np.zeros((0, 3), np.float32),
    }


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.name)
def test_golden_files(path):
    stored = files.read(path)
    assert stored.arrays.keys() == expected().keys()
    assert stored.others == ()
    for name, wanted in expected().items():
        array = stored.arrays[name].read()
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape), name
        assert (stored.arrays[name].dtype, stored.arrays[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(array, wanted)


WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@WRITERS
@pytest.mark.parametrize("protocol", range(6))
def test_a_command_is_not_run(write, protocol, tmp_path):
    trace = tmp_path / "trace"
    content = pickle.dumps({"state_dict": {"w": Call(os.system, f"touch {trace}")}}, protocol)
    file = write(tmp_path / "evil.pth", content)
    with pytest.raises(RequestError, match="holds more than arrays: .* Nothing of it was executed"):
        alexnet_jax.load(file, "torchvision")
    assert not trace.exists()
    pickle.loads(content)  # what it would have done
    assert trace.exists()


@WRITERS
@pytest.mark.parametrize("function", [eval, io.open, OrderedDict.fromkeys, bytearray, Path])
def test_globals_are_refused_by_name(write, function, tmp_path):
    file = write(tmp_path / "evil.pth", pickle.dumps(Call(function, "1"), 4))
    name = function.__name__
    with pytest.raises(RequestError, match=rf"holds more than arrays: \S*{name}\b|getattr"):
        files.read(file)


UNUSED = [op for op in pickletools.opcodes if op.name not in (*torch_pickle._INSTRUCTIONS, "STOP")]


@pytest.mark.parametrize("opcode", UNUSED, ids=lambda opcode: opcode.name)
def test_every_other_instruction_is_refused(opcode):
    argument = b"\x00" * 9 if opcode.name != "INST" else b"os\nsystem\n"
    argument = (
        b"1\n" + argument if opcode.name in ("INT", "LONG", "FLOAT", "GET", "PUT") else argument
    )
    argument = b"'x'\n" if opcode.name == "STRING" else argument + b"\n"
    stream = io.BytesIO(b"\x80\x02" + opcode.code.encode("latin-1") + argument + b".")
    with pytest.raises(torch_pickle.RefusedError, match=f"instruction {opcode.name} at byte 2"):
        torch_pickle.unpickle(stream)


THREE = {"0": np.arange(3, dtype=np.float32).tobytes()}


@WRITERS
def test_a_tensor(write, tmp_path):
    stored = files.read(write(tmp_path / "good.pth", tensor(), THREE))
    assert stored.arrays["w"].read().tolist() == [0, 1, 2]
    stored = files.read(write(tmp_path / "good.pth", tensor(shape=(2,), strides=(2,)), THREE))
    assert stored.arrays["w"].read().tolist() == [0, 2]


@WRITERS
@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (4,)},
        {"offset": 1},
        {"strides": (2,)},
        {"length": 4},
        {"key": "7"},
        {"kind": "DoubleStorage"},
        {"shape": (10**15,), "strides": (0,)},
        {"shape": (10**9, 10**9), "strides": (0, 0), "offset": 2},
        {"strides": (-1,), "offset": 2},
        {"offset": -1},
        {"shape": (-3,)},
        {"length": -3},
        {"shape": (3, 1)},
        {"shape": (1,) * 65, "strides": (1,) * 65},
        {"kind": "UntypedStorage"},
    ],
    ids=str,
)
def test_a_tensor_of_numbers_that_are_not_there_is_refused(write, changes, tmp_path):
    file = write(tmp_path / "bad.pth", tensor(**changes), THREE)
    with pytest.raises(RequestError, match="reaches beyond|ends early|holds more than arrays"):
        files.read(file)


@WRITERS
@pytest.mark.parametrize("name", ["collections OrderedDict", "torch._utils _rebuild_tensor_v2"])
def test_a_storage_of_no_kind_of_number_is_refused(write, name, tmp_path):
    other = f"c{name}\n".replace(" ", "\n").encode()
    content = tensor().replace(b"ctorch\nFloatStorage\n", other)
    told = f"holds more than arrays: a storage of {re.escape(name.replace(' ', '.'))}. Nothing"
    with pytest.raises(RequestError, match=told):
        files.read(write(tmp_path / "bad.pth", content, THREE))


@pytest.mark.parametrize("key", [["0"], {"0": 1}, 0, None], ids=repr)
def test_a_storage_whose_name_is_no_text_is_refused(key, tmp_path):
    file = write_legacy(tmp_path / "bad.pth", tensor(), THREE, keys=[key])
    with pytest.raises(RequestError, match="is not a sound PyTorch file: its beginning is not"):
        files.read(file)


def test_a_file_of_a_big_endian_machine_is_refused(tmp_path):
    zipped = write_zip(tmp_path / "zip.pth", tensor(), THREE)
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    legacy = write_legacy(tmp_path / "legacy.pth", tensor(), THREE, little_endian=False)
    for file in (zipped, legacy):
        with pytest.raises(RequestError) as refused:
            files.read(file)
        assert str(refused.value) == (
            f"{file} was written on a big-endian machine; load it with PyTorch on a little-endian one (x86, ARM) "
            "and save it again there."
        )


def test_a_zip_bomb_is_refused(tmp_path):
    """A compressed member, and members that declare the same bytes many times."""
    zeros = {"0": bytes(10**7)}
    file = tmp_path / "bomb.pth"
    write_zip(file, tensor(length=10**7 // 4), zeros, compression=zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 20_000
    with pytest.raises(RequestError, match="compressed or declares more than it holds"):
        files.read(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", tensor())
        archive.writestr("archive/data/0", bytes(1000))
        for key in range(1, 20):  # the same place under other names
            member = archive.getinfo("archive/data/0")
            twin = zipfile.ZipInfo(f"archive/data/{key}")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(twin, field, getattr(member, field))
            archive.filelist.append(twin)
    with pytest.raises(RequestError, match="compressed or declares more than it holds"):
        files.read(file)


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "small.safetensors"])
@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_refused(name, fraction, tmp_path):
    content = (GOLDEN / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(
        RequestError, match="not a sound|damaged pickle|is no file of weights|without"
    ):
        files.read(tmp_path / name)


def test_a_safetensors_header_as_long_as_a_zip_begins(tmp_path):
    """A header of 0x4B50 bytes: the file begins with "PK" and is no archive."""
    content = (GOLDEN / "small.safetensors").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = content[8:end].ljust(0x4B50)
    file = tmp_path / "small.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + content[end:])
    assert file.read_bytes().startswith(b"PK")
    stored = files.read(file)
    assert stored.arrays.keys() == expected().keys()
    np.testing.assert_array_equal(stored.arrays["plain"].read(), expected()["plain"])


def test_a_flipped_bit_in_the_numbers_of_an_archive_is_found(tmp_path):
    content = bytearray((GOLDEN / "zip.pth").read_bytes())
    content[content.index(uniform("plain", (2, 3, 2, 2)).tobytes()) + 5] ^= 1
    (tmp_path / "bad.pth").write_bytes(content)
    stored = files.read(tmp_path / "bad.pth")
    with pytest.raises(RequestError, match="is not a sound PyTorch file: Bad CRC-32"):
        stored.arrays["plain"].read()


def test_a_whole_module_is_refused(tmp_path):
    file = write_zip(tmp_path / "m.pth", b"\x80\x02ctorchvision.models.alexnet\nAlexNet\n)\x81.")
    with pytest.raises(RequestError, match=r"alexnet\.AlexNet\. .*model\.state_dict\(\)"):
        files.read(file)


def test_a_file_without_arrays_is_refused(tmp_path):
    with pytest.raises(RequestError, match="holds no arrays by name, also not under state_dict"):
        files.read(write_zip(tmp_path / "none.pth", pickle.dumps({"model": {"a": 1}}, 2)))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(RequestError, match="without one data.pkl"):
        files.read(tmp_path / "other.zip")
    (tmp_path / "text.pth").write_text("hello, world, this is text")
    with pytest.raises(
        RequestError, match="is no file of weights of a known format; the formats are: P"
    ):
        files.read(tmp_path / "text.pth")
    with pytest.raises(RequestError, match="there is no such file"):
        files.read(tmp_path / "missing.pth")
