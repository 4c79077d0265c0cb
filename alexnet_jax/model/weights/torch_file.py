"""PyTorch's files, ``.pth`` and ``.pt``, read without PyTorch: the zip archives of today and what it wrote before 1.6.

Nothing a file says is executed (``torch_pickle``), and every size it declares is compared with the file's own before
memory is taken for it.
"""

import functools
import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jax import numpy as jnp
from numpy.lib.stride_tricks import as_strided

from alexnet_jax.errors import RequestError
from alexnet_jax.model.weights.stored import Stored, StoredArray, shown
from alexnet_jax.model.weights.torch_pickle import STORAGES, RefusedError, Storage, Tensor, unpickle

# What torch.save wrote first until 1.6, as a pickle: this number, then the protocol's.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
LEGACY_BEGINNING = bytes([0x8A, 0x0A]) + LEGACY_MAGIC.to_bytes(10, "little")

LARGEST_PICKLE_BYTES = 1 << 24  # of names and shapes; an AlexNet's has a few thousand

# Where training scripts put the network's arrays among other things.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")

_NUMBERS: tuple[Any, ...] = (
    np.float64,
    np.float32,
    np.float16,
    jnp.bfloat16,
    np.int64,
    np.int32,
    np.int16,
    np.int8,
    np.uint8,
    np.bool_,
)
DTYPES = {kind: np.dtype(number) for kind, number in zip(STORAGES, _NUMBERS, strict=True)}

Bytes = Callable[[Storage], bytes]


def read_zip(path: Path) -> Stored:
    """Describes what a file of today holds.

    Raises:
      RequestError: If it is damaged, or holds anything but tensors in plain containers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            _check_members(path, members)
            (root,) = {
                name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")
            }
            order = f"{root}byteorder"
            if order in members and archive.read(order) != b"little":
                raise _big_endian(path)
            if members[f"{root}data.pkl"].file_size > LARGEST_PICKLE_BYTES:
                raise _damaged(path, "its list of names and shapes is too long for a network's")
            content = archive.read(f"{root}data.pkl")
    except RequestError:
        raise
    except _ZIP_ERRORS as error:
        raise _damaged(path, str(error)) from error
    value = _unpickle(path, io.BytesIO(content))
    sizes = {
        name.removeprefix(f"{root}data/"): member.file_size for name, member in members.items()
    }
    return _stored(path, value, sizes, functools.partial(_read_member, path, f"{root}data/"))


def read_legacy(path: Path) -> Stored:
    """Describes what a file of a PyTorch before 1.6 holds; errors as in ``read_zip``."""
    with path.open("rb") as file:
        head = io.BytesIO(file.read(LARGEST_PICKLE_BYTES))
        pickles = [_unpickle(path, head) for _ in range(5)]
        file.seek(head.tell())
        match pickles:
            case [magic, protocol, {"little_endian": True}, value, [*keys]] if (
                magic == LEGACY_MAGIC
                and protocol == LEGACY_PROTOCOL
                and all(isinstance(key, str) for key in keys)
            ):
                places = _legacy_places(path, file, value, keys)
            case [_, _, {"little_endian": False}, *_]:
                raise _big_endian(path)
            case _:
                raise _damaged(path, "its beginning is not PyTorch's")
    sizes = {key: size for key, (_, size) in places.items()}
    return _stored(path, value, sizes, functools.partial(_read_span, path, places))


_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,  # an encrypted member
    struct.error,
    OSError,
    ValueError,
)


def _check_members(path: Path, members: Mapping[str, zipfile.ZipInfo]) -> None:
    """Refuses archives that would grow: PyTorch compresses nothing, so the parts add up to the whole at most."""
    packed = [member for member in members.values() if member.compress_type != zipfile.ZIP_STORED]
    total = sum(member.file_size for member in members.values())
    if packed or total > path.stat().st_size:
        raise _damaged(path, "it is compressed or declares more than it holds; PyTorch's is not")
    if sum(name.endswith("/data.pkl") for name in members) != 1:
        raise _damaged(path, "it is a zip archive without one data.pkl")


def _read_member(path: Path, prefix: str, storage: Storage) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(f"{prefix}{storage.key}")
    except _ZIP_ERRORS as error:
        raise _damaged(path, str(error)) from error


def _legacy_places(
    path: Path, file: Any, value: Any, keys: list[Any]
) -> dict[str, tuple[int, int]]:
    """Returns where each storage's numbers are: (offset, size), in bytes."""
    kinds = {tensor.storage.key: tensor.storage.kind for tensor in _all_tensors(value)}
    end = os.fstat(file.fileno()).st_size
    places = {}
    for key in keys:
        head = file.read(8)
        if len(head) < 8 or key not in kinds:
            raise _damaged(path, "it ends early")
        (length,) = struct.unpack("<q", head)
        size = length * DTYPES[kinds[key]].itemsize
        if not 0 <= size <= end - file.tell():
            raise _damaged(path, "it ends early")
        places[key] = (file.tell(), size)
        file.seek(size, os.SEEK_CUR)
    return places


def _read_span(path: Path, places: Mapping[str, tuple[int, int]], storage: Storage) -> bytes:
    offset, size = places[storage.key]
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _unpickle(path: Path, file: Any) -> Any:
    try:
        return unpickle(file)
    except RefusedError as refused:
        raise RequestError(
            f"{path} holds more than arrays: {refused}. Nothing of it was executed. Save only the arrays, with "
            "torch.save(model.state_dict(), path)."
        ) from refused


def _stored(path: Path, value: Any, sizes: Mapping[str, int], read: Bytes) -> Stored:
    entries = _state_dict(value)
    if entries is None:
        raise RequestError(
            f"{path} holds no arrays by name, also not under {', '.join(WRAPPERS)}; save model.state_dict()."
        )
    arrays = {
        str(name): _describe(path, str(name), tensor, sizes, read)
        for name, tensor in entries.items()
        if isinstance(tensor, Tensor)
    }
    others = tuple(str(name) for name, other in entries.items() if not isinstance(other, Tensor))
    return Stored(str(path), arrays, others)


def _state_dict(value: Any) -> dict[Any, Any] | None:
    """Returns the dictionary with the network's arrays; training scripts put it beside other things."""
    if not isinstance(value, dict):
        return None
    # The value itself last: what stands beside the network's arrays may be tensors too, a best accuracy for one.
    for entries in (*(value[name] for name in WRAPPERS if name in value), value):
        if isinstance(entries, dict) and any(isinstance(e, Tensor) for e in entries.values()):
            return entries
    return None


def _all_tensors(value: Any) -> list[Tensor]:
    """Returns every tensor of nested containers, each container visited once."""
    tensors, waiting, seen = [], [value], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
    return tensors


def _describe(
    path: Path, name: str, tensor: Tensor, sizes: Mapping[str, int], read: Bytes
) -> StoredArray:
    storage, dtype = tensor.storage, DTYPES[tensor.storage.kind]
    steps = ((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    last = tensor.offset + sum(steps)
    fits = 0 in tensor.shape or (
        last < storage.length and math.prod(tensor.shape) <= storage.length
    )
    if sizes.get(storage.key) != storage.length * dtype.itemsize or not fits:
        raise _damaged(path, f"{shown(name)} reaches beyond the numbers stored for it")
    return StoredArray(tensor.shape, dtype, functools.partial(_read_tensor, tensor, dtype, read))


def _read_tensor(tensor: Tensor, dtype: np.dtype, read: Bytes) -> np.ndarray:
    numbers = np.frombuffer(read(tensor.storage), dtype)[tensor.offset :]
    strides = [step * dtype.itemsize for step in tensor.strides]
    return as_strided(numbers, tensor.shape, strides, writeable=False).copy()


def _damaged(path: Path, what: str) -> RequestError:
    return RequestError(f"{path} is not a sound PyTorch file: {what}; fetch it again.")


def _big_endian(path: Path) -> RequestError:
    return RequestError(
        f"{path} was written on a big-endian machine; load it with PyTorch on a little-endian one (x86, ARM) and save "
        "it again there."
    )
