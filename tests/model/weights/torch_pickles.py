"""PyTorch's files, made byte by byte without PyTorch: also what it would not write."""

import pickle
import struct
import zipfile

from alexnet_jax.model.weights import torch_file


def write_zip(path, content, storages=(), **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("archive/data.pkl", content)
        for key, data in dict(storages).items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def write_legacy(path, content, storages=(), keys=None, little_endian=True):
    keys = [*dict(storages)] if keys is None else keys
    parts = [pickle.dumps(value, 2) for value in (torch_file.LEGACY_MAGIC, 1001)]
    parts += [pickle.dumps({"little_endian": little_endian}, 2), content, pickle.dumps(keys, 2)]
    for data in dict(storages).values():
        parts += [struct.pack("<q", len(data) // 4), data]
    path.write_bytes(b"".join(parts))
    return path


def _value(value):
    return pickle.dumps(value, 2)[2:-1].replace(b"q\x00", b"")


def tensor_call(shape=(3,), strides=(1,), offset=0, length=3, key="0", kind="FloatStorage"):
    """Returns the part of a pickle that leaves a tensor on the stack."""
    storage = b"(" + _value("storage") + f"ctorch\n{kind}\n".encode()
    storage += _value(key) + _value("cpu") + _value(length) + b"tQ"
    numbers = b"".join(b"(" + b"".join(map(_value, row)) + b"t" for row in (shape, strides))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + _value(offset) + numbers + b"\x89}tR"


def tensor(**changes):
    """Returns the pickle of {"w": a tensor}."""
    return b"\x80\x02}" + _value("w") + tensor_call(**changes) + b"s."
