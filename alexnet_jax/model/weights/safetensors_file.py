"""``.safetensors``: a header of names, shapes and offsets, then the numbers. Reading executes nothing by design."""

import contextlib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jax import numpy as jnp
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from alexnet_jax.errors import RequestError, writing
from alexnet_jax.model.weights.stored import Stored, StoredArray

SUFFIX = ".safetensors"

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


def read(path: Path) -> Stored:
    """Reads the header.

    Raises:
      RequestError: If the header is not one, or does not cover the file exactly.
    """
    try:
        file: Any = safe_open(path, framework="numpy")
        metadata = file.metadata() or {}
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
        described = {
            name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()
        }
    except SafetensorError as error:
        raise _damaged(path, error) from error
    return Stored(
        where=str(path),
        arrays={
            name: StoredArray(shape, DTYPES[dtype], functools.partial(_array, path, file, name))
            for name, (shape, dtype) in described.items()
            if dtype in DTYPES
        },
        others=tuple(name for name, (_, dtype) in described.items() if dtype not in DTYPES),
        metadata=metadata,
    )


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes a file at once: readers see the old or the new one, never a part.

    Raises:
      RequestError: If there is no directory to write to, the path is one itself, or it cannot be written.
    """
    if not path.parent.is_dir():
        raise RequestError(f"{path.parent} is no directory; make it first.")
    if path.is_dir():
        raise RequestError(f"{path} is a directory; name a file.")
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with writing(path):
            temporary.touch()  # with the user's mode; replaced by save_file's it would be its owner's alone
            mode = temporary.stat().st_mode
            _save(arrays, temporary, metadata)
            temporary.chmod(mode)
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # where it could not be made either
            temporary.unlink()


def _save(arrays: Mapping[str, np.ndarray], path: Path, metadata: Mapping[str, str]) -> None:
    try:
        save_file(dict(arrays), path, metadata=dict(metadata))
    except SafetensorError as error:  # whatever the system refuses
        raise OSError(str(error)) from error


def _array(path: Path, file: Any, name: str) -> np.ndarray:
    try:
        return file.get_tensor(name)
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RequestError:
    return RequestError(f"{path} is not a sound .safetensors file: {error}; fetch it again.")
