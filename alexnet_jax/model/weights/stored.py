"""What every reader returns: the arrays of a file by name, described before any of them is read."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from jax import numpy as jnp

LONGEST_SHOWN_NAME = 100


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """One array of a file.

    Attributes:
      shape: As the file says.
      dtype: As the file says; jax.numpy's bfloat16 included.
      read: Reads it; what it returns has just that shape and dtype, or it raises a RequestError.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    @property
    def is_float(self) -> bool:
        """Whether it holds real numbers, of any precision."""
        return bool(jnp.issubdtype(self.dtype, jnp.floating))


@dataclasses.dataclass(frozen=True)
class Stored:
    """A file of weights.

    Attributes:
      where: Its name, for messages.
      arrays: By the names that the file uses.
      others: Names of what stands among the arrays and is none.
      metadata: What the file says about itself.
    """

    where: str
    arrays: Mapping[str, StoredArray]
    others: tuple[str, ...] = ()
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


def shown(name: str) -> str:
    """Returns a name from a file as a message may hold it: printable and not long."""
    text = name if name.isprintable() else ascii(name)
    return text if len(text) <= LONGEST_SHOWN_NAME else f"{text[:LONGEST_SHOWN_NAME]}..."
