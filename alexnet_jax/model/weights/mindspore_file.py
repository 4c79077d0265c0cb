"""MindSpore's ``.ckpt``: a protocol buffer of named tensors, mindspore/ccsrc/utils/checkpoint.proto."""

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from jax import numpy as jnp

from alexnet_jax.errors import RequestError
from alexnet_jax.model.weights.stored import Stored, StoredArray, shown

BEGINNING = b"\n"  # the first value: field 1, of a length

DTYPES: dict[str, np.dtype[Any]] = {
    "Float64": np.dtype(np.float64),
    "Float32": np.dtype(np.float32),
    "Float16": np.dtype(np.float16),
    "BFloat16": np.dtype(jnp.bfloat16),
    "Int64": np.dtype(np.int64),
    "Int32": np.dtype(np.int32),
    "Int16": np.dtype(np.int16),
    "Int8": np.dtype(np.int8),
    "UInt8": np.dtype(np.uint8),
    "Bool": np.dtype(np.bool_),
}

# Message -> (number, field, type, whether it repeats).
_SCHEMA = {
    "Tensor": (
        (1, "dims", "int64", True),
        (2, "tensor_type", "string", False),
        (3, "tensor_content", "bytes", False),
    ),
    "Value": ((1, "tag", "string", False), (2, "tensor", "Tensor", False)),
    "Checkpoint": ((1, "value", "Value", True),),
}


def read(path: Path) -> Stored:
    """Describes what a checkpoint holds.

    Raises:
      RequestError: If it is damaged or encrypted.
    """
    checkpoint = _checkpoint_class()()
    try:
        checkpoint.ParseFromString(path.read_bytes())
    except message.DecodeError as error:
        raise _damaged(path, f"{error}; it may be cut short or encrypted") from error
    arrays: dict[str, StoredArray] = {}
    others = []
    parts: dict[str, list[Any]] = {}
    for value in checkpoint.value:
        parts.setdefault(value.tag, []).append(value.tensor)  # large tensors come in several parts
    for name, tensors in parts.items():
        if tensors[0].tensor_type in DTYPES:
            arrays[name] = _describe(path, name, tensors)
        else:
            others.append(name)
    return Stored(str(path), arrays, tuple(others))


def _describe(path: Path, name: str, tensors: list[Any]) -> StoredArray:
    dtype, shape = DTYPES[tensors[0].tensor_type], tuple(tensors[0].dims)
    size = sum(len(tensor.tensor_content) for tensor in tensors)
    if shape == (0,) and size == dtype.itemsize:
        shape = ()  # how it writes a scalar
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size:
        raise _damaged(path, f"{shown(name)} has {size} bytes, which are no {shape} of {dtype}")
    return StoredArray(shape, dtype, functools.partial(_array, tensors, dtype, shape))


def _array(tensors: list[Any], dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    content = b"".join(tensor.tensor_content for tensor in tensors)
    return np.frombuffer(content, dtype).reshape(shape)


@functools.cache
def _checkpoint_class() -> Any:
    """Returns the message class of a whole file."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="checkpoint.proto", package="alexnet_jax", syntax="proto2"
    )
    for name, fields in _SCHEMA.items():
        entry = file.message_type.add(name=name)
        for number, field, kind, repeats in fields:
            entry.field.add(
                name=field,
                number=number,
                label=kinds.LABEL_REPEATED if repeats else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_MESSAGE
                if kind in _SCHEMA
                else getattr(kinds, f"TYPE_{kind.upper()}"),
                type_name=f".{file.package}.{kind}" if kind in _SCHEMA else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.Checkpoint"))


def _damaged(path: Path, what: str) -> RequestError:
    return RequestError(f"{path} is not a sound MindSpore checkpoint: {what}; fetch it again.")
