"""What is the user's to mend."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class RequestError(ValueError):
    """A request that cannot be carried out as it stands: a bad value, missing data, a wrong directory.

    Its text says what is wrong, what was got, and what to do. Commands print it without a traceback and exit
    with status 2; every other exception is a failure of the program.
    """


class RunError(RuntimeError):
    """What fails though the request was right: no space to save to, numbers that are not finite, a wrong result.

    Its text says what happened, at which step of a run, and what to do. Commands print it without a traceback and
    exit with status 1.
    """


class Fault(NamedTuple):
    """Something wrong with a configuration: the key it is about, and a sentence to print.

    Faults are collected, so that one RequestError can report them all.
    """

    key: str
    text: str


def refused(faults: Iterable[Fault]) -> RequestError:
    """Returns one error to raise for all the faults, a line each."""
    return RequestError("\n".join(fault.text for fault in faults))


def reading(path: Path) -> contextlib.AbstractContextManager[None]:
    """Names a file that the system does not let us read.

    Raises:
      RequestError: In the place of an OSError.
    """
    return _naming(path, "read", "make it readable, or name another")


def writing(path: Path) -> contextlib.AbstractContextManager[None]:
    """Names a file or a directory that the system does not let us write.

    Raises:
      RequestError: In the place of an OSError.
    """
    return _naming(path, "written", "make room or make it writable, or name another place")


@contextlib.contextmanager
def _naming(path: Path, done: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"{path} cannot be {done} ({error.strerror or error}); {remedy}."
        ) from error
