"""Images that cannot be read: named once, counted, replaced; too many stop the run."""

import errno
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from alexnet_jax.data.decode import UNREADABLE
from alexnet_jax.data.sources.base import Source
from alexnet_jax.errors import RequestError

_log = logging.getLogger(__name__)
_Loaded = TypeVar("_Loaded")
RETRY_SECONDS = (0.1, 1.0, 5.0)  # before the second, third and fourth try of a read
# Of reads that fail as they did, however often they are tried; None is the decoder's, not the disk's.
LASTING = (
    *(None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM),
    *(errno.ELOOP, errno.ENAMETOOLONG),
)
LISTED = 20  # of the broken images, in the message that stops a run


class BrokenImages:
    """The unreadable images met in one split so far; shared by the threads that decode."""

    def __init__(self, split: str, num_examples: int, max_fraction: float):
        """Starts with none.

        Args:
          split: "train" or "eval".
          num_examples: Size of the split.
          max_fraction: More than this share of them stops the run.
        """
        self._split, self._num_examples, self._max_fraction = split, num_examples, max_fraction
        self._found: dict[int, str] = {}
        self.retries = 0  # reads that failed for a moment
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """Different images found broken."""
        return len(self._found)

    def found(self) -> list[int]:
        """Returns which they are."""
        with self._lock:
            return sorted(self._found)

    def learn(self, known: Mapping[int, str]) -> None:
        """Takes over what the processes of a job have found together.

        Args:
          known: Index -> what a person finds the example by.

        Raises:
          RequestError: If these are more images than may be broken.
        """
        with self._lock:
            for index, text in known.items():
                self._found.setdefault(index, text)
        self._check(len(known))

    def first_readable(self, source: Source, index: int, load: Callable[[int], _Loaded]) -> _Loaded:
        """Returns ``load`` of example ``index``, or of the next one (from the start again after the last) that loads.

        Raises:
          RequestError: If more images are broken than may be.
        """
        for offset in range(self._num_examples):
            place = (index + offset) % self._num_examples
            if place in self._found:
                continue
            try:
                return self._patiently(source, place, load)
            except UNREADABLE as error:
                self._add(place, f"{describe(source, place)} ({error})")
        raise RequestError(self._too_many())

    def _patiently(self, source: Source, index: int, load: Callable[[int], _Loaded]) -> _Loaded:
        """Loads an example; a mount that fails for a moment is tried again."""
        for pause in RETRY_SECONDS:
            try:
                return load(index)
            except OSError as error:
                if error.errno in LASTING:
                    raise
                with self._lock:
                    self.retries += 1
                _log.warning("%s: %s; tries again", describe(source, index), error.strerror)
                time.sleep(pause)
        return load(index)

    def _add(self, index: int, text: str) -> None:
        with self._lock:
            if index in self._found:
                return
            self._found[index] = text
        _log.warning("broken image, replaced by the next readable one: %s", text)
        self._check(self.count)

    def _check(self, count: int) -> None:
        if count > self._max_fraction * self._num_examples:
            raise RequestError(self._too_many())

    def _too_many(self) -> str:
        with self._lock:
            listed = sorted(self._found.values())
        more = [f"  and {len(listed) - LISTED} more"] if len(listed) > LISTED else []
        lines = [f"  {text}" for text in listed[:LISTED]] + more
        text = (
            f"{len(listed)} of the {self._num_examples} {self._split} images cannot be read, more than "
            f"data.max_broken_fraction={self._max_fraction:g} allows; mend or remove them, or raise it:"
        )
        return "\n".join([text, *lines])


def describe(source: Source, index: int) -> str:
    """Returns what a person finds an example by: its file, where the source knows it."""
    name = getattr(source, "describe", None)
    return name(index) if name is not None else f"example {index}"
