"""Whatever a file holds, reading it ends in arrays that its own bytes account for, or in a plain refusal.

ALEXNET_JAX_FUZZ_EXAMPLES=1000 tries that many changed files of each format.
"""

import io
import os
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_jax.errors import RequestError
from alexnet_jax.model.weights import files
from tests.model.weights.test_mindspore_file import checkpoint

GOLDEN = Path(__file__).parents[2] / "references" / "weights"
EXAMPLES = int(os.environ.get("ALEXNET_JAX_FUZZ_EXAMPLES", "40"))
CODES = [op.code.encode("latin-1") for op in pickletools.opcodes]


def mindspore():
    arrays = {"a": np.ones((2, 3), np.float32), "learning_rate": np.zeros((), np.float16)}
    return checkpoint(arrays)


def golden(name):
    return lambda: (GOLDEN / name).read_bytes()


def archive_parts():
    with zipfile.ZipFile(GOLDEN / "zip.pth") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(pickled):
    """Returns an archive that is sound but for its pickle."""
    parts = archive_parts()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, pickled if name.endswith("data.pkl") else content)
    return buffer.getvalue()


def pickle_inside():
    return next(part for name, part in archive_parts().items() if name.endswith("data.pkl"))


# Format -> (what is changed, what is made of it).
TARGETS = {
    "zip": (golden("zip.pth"), bytes),
    "pickle": (pickle_inside, rezip),
    "legacy": (golden("legacy.pth"), bytes),
    "safetensors": (golden("small.safetensors"), bytes),
    "mindspore": (mindspore, bytes),
}

PIECE = st.one_of(
    st.binary(min_size=1, max_size=4),
    st.sampled_from(CODES),
    st.sampled_from([b"\xff" * 8, b"\x7f" + b"\xff" * 8, b"\x00" * 8, b"cos\nsystem\n", b'"}]']),
    st.integers(0, 1 << 40).map(lambda n: str(n).encode()),
)
CHANGE = st.tuples(
    st.sampled_from(["replace", "insert", "delete", "repeat", "cut"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 40),
    PIECE,
)


def apply(content, changes):
    for kind, where, length, piece in changes:
        at = int(where * len(content))
        if kind == "replace":
            content = content[:at] + piece + content[at + len(piece) :]
        elif kind == "insert":
            content = content[:at] + piece + content[at:]
        elif kind == "delete":
            content = content[:at] + content[at + length :]
        elif kind == "repeat":
            content = content[:at] + content[at : at + length] + content[at:]
        else:
            content = content[:at]
    return content


def read_all(path, size):
    """Reads a file of so many bytes; returns what the refusal says, or None."""
    try:
        arrays = files.read(path).arrays.values()
        for array in arrays:
            assert np.prod(array.shape, dtype=object) * array.dtype.itemsize <= size
            numbers = array.read()
            assert (numbers.shape, numbers.dtype) == (array.shape, array.dtype)
    except RequestError as error:
        return str(error)
    return None


@pytest.mark.parametrize("target", TARGETS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES < 100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.lists(CHANGE, min_size=1, max_size=4))
def test_a_changed_file_is_read_or_refused(target, tmp_path, changes):
    original, rebuild = TARGETS[target]
    content = rebuild(apply(original(), changes))
    path = tmp_path / "changed"
    path.write_bytes(content)
    refusal = read_all(path, len(content))
    assert refusal is None or str(path) in refusal
