"""A short digest of data: what a run writes down to tell whether they changed."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np


def digest(parts: Sequence[Any]) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of strings and arrays, one after the other."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):  # also the name of a file, which need not be UTF-8
            total.update(part.encode(errors="surrogateescape"))
        else:
            total.update(np.ascontiguousarray(part).data)
    return total.hexdigest()[:16]
