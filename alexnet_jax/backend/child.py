"""Runs a module of ours in a child process: what aborts or hangs there can be told, and the rest goes on."""

import contextlib
import dataclasses
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import IO, Any

from alexnet_jax.errors import RequestError

TIMEOUT_VARIABLE = "ALEXNET_JAX_BACKEND_TIMEOUT_SECONDS"
TIMEOUT_SECONDS = 120.0  # a first start of an accelerator's runtime can take a minute

Message = dict[str, Any]

# What a dying process prints besides the reason: stack frames, headings, and JAX's warning of new platforms.
_NOISE = re.compile(
    r"\s*($|@|\*\*\*|File |Fatal Python error|Extension modules|Current thread|Thread 0x|Stack |.*is experimental and)"
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a child.

    Attributes:
      messages: What it reported, in order.
      ending: How it ended: empty where well, else e.g. "killed by signal 6, SIGABRT".
      last_words: The last line of sense it printed to standard error.
    """

    messages: list[Message]
    ending: str
    last_words: str

    def cause(self) -> str:
        """Returns the ending with the last words."""
        return f"{self.ending}: {self.last_words}" if self.last_words else self.ending


def run(module: str, request: Mapping[str, Any]) -> Outcome:
    """Runs ``python -m module`` on a request and collects what it reports.

    The child is ended when it is silent for ``ALEXNET_JAX_BACKEND_TIMEOUT_SECONDS``, 120 by default.

    Args:
      module: It calls ``serve``.
      request: JSON values.
    """
    limit = timeout_seconds()
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(writer), json.dumps(request)],
            pass_fds=[writer],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=os.environ | {"PYTHONPATH": path},
        )
        os.close(writer)
        messages: list[Message] = []
        try:
            with contextlib.closing(_lines(reader, limit)) as lines:
                messages.extend(json.loads(line) for line in lines)
            status = process.wait(limit)
            ending = _describe(status)
        except (TimeoutError, subprocess.TimeoutExpired):
            ending = f"no answer within {limit:g} s"
        finally:
            process.kill()
            process.wait()
        return Outcome(messages, ending, _last_words(errors))


def serve(answer: Callable[[Message, Callable[[Message], None]], None]) -> None:
    """Answers the request a child was started with.

    Args:
      answer: ``(request, report)``; it calls ``report(message)`` as often as it likes.
    """
    descriptor, request = sys.argv[1:]
    with os.fdopen(int(descriptor), "w", buffering=1) as pipe:
        answer(json.loads(request), lambda message: print(json.dumps(message), file=pipe))


def timeout_seconds() -> float:
    """Returns how long a child may be silent.

    Raises:
      RequestError: If the environment says something else than a number of seconds.
    """
    text = os.environ.get(TIMEOUT_VARIABLE, str(TIMEOUT_SECONDS))
    with contextlib.suppress(ValueError):
        if float(text) > 0:
            return float(text)
    raise RequestError(f"{TIMEOUT_VARIABLE}={text!r} is not a number of seconds above 0.")


def _lines(reader: int, limit: float) -> Generator[str, None, None]:
    """Yields the lines that arrive, to the end. Raises TimeoutError when none comes for ``limit`` seconds."""
    buffer = b""
    try:
        while True:
            if not select.select([reader], [], [], limit)[0]:
                raise TimeoutError
            chunk = os.read(reader, 1 << 16)
            if not chunk:
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            yield from (line.decode() for line in lines)
    finally:
        os.close(reader)


def _describe(status: int) -> str:
    if status < 0:
        return f"killed by signal {-status}, {signal.Signals(-status).name}"
    return f"exit status {status}" if status else ""


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if not _NOISE.match(line)), "")
