"""SIGTERM and SIGINT: the first finishes the step and saves, the second ends the process at once."""

import os
import signal
import threading
import time
from types import FrameType

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAME_SECONDS = (
    1.0  # a launcher can pass on, as SIGTERM, the Ctrl-C that the terminal has sent to all
)


class Stopped(Exception):  # noqa: N818 - no error: it was asked for
    """The run was stopped by a signal, after it saved.

    Attributes:
      status: To exit with, 128 and the signal's number, as shells have it.
    """

    def __init__(self, number: int, step: int):
        self.status = 128 + number
        name = signal.Signals(number).name
        super().__init__(
            f"stopped by {name} after step={step}, which is saved; the same command continues."
        )


class StopRequest:
    """Watches for signals inside ``with``; all processes of a job learn of a signal to any of them at the same step.

    A thread takes them: Python's own handlers wait for the main thread, which can be in a call of the device for
    minutes, or for ever where another process does not answer.
    """

    def __init__(self) -> None:
        self._number, self._at = 0, 0.0
        self._before: dict[signal.Signals, object] = {}
        self._agreement = _Agreement() if jax.process_count() > 1 else None

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # Python allows it there only
            reading, self._writing = os.pipe()
            os.set_blocking(self._writing, False)
            self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
            self._before = {number: signal.signal(number, _leave) for number in SIGNALS}
            threading.Thread(
                target=self._watch, args=(reading,), name="signals", daemon=True
            ).start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before:
            for number, handler in self._before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]
            signal.set_wakeup_fd(self._wakeup)
            os.close(self._writing)  # which ends the thread

    def poll(self) -> int:
        """Returns the signal to stop for, 0 for none. Every process calls it once a step.

        In a job of several processes the answer is one call late: nobody waits for the others.
        """
        if self._agreement is None:
            return self._number
        return self._agreement.exchange(self._number)

    def _watch(self, reading: int) -> None:
        while numbers := os.read(reading, 1):
            if numbers[0] in SIGNALS:
                self._receive(numbers[0])
        os.close(reading)

    def _receive(self, number: int) -> None:
        if self._number not in (0, number) and time.monotonic() - self._at < SAME_SECONDS:
            return
        if self._number:
            # No checkpoint suffers: it gets its name only when it is whole.
            os.write(2, b"second signal: ends at once; the last checkpoint remains\n")
            os._exit(128 + number)
        self._number, self._at = number, time.monotonic()
        name = signal.Signals(number).name
        text = f"{name}: finishes the step, saves and ends; a second signal ends at once\n"
        os.write(2, text.encode())  # print may be in the middle of a line


def _leave(number: int, frame: FrameType | None) -> None:
    """Does nothing: the thread has it; a handler of Python's is what writes to the thread."""


class _Agreement:
    """The largest number that any process of the job brought to the exchange before."""

    def __init__(self) -> None:
        # One device of every process, so that each brings one number.
        firsts = {device.process_index: device for device in reversed(jax.devices())}
        mesh = Mesh(np.array([firsts[process] for process in sorted(firsts)]), ("process",))
        self._by_process = NamedSharding(mesh, PartitionSpec("process"))
        self._largest = jax.jit(jnp.max, out_shardings=NamedSharding(mesh, PartitionSpec()))
        self._before: jax.Array | None = None

    def exchange(self, number: int) -> int:
        """Brings a number, and returns the largest of those brought at the last exchange."""
        mine = np.array([number], np.int32)
        brought = jax.make_array_from_process_local_data(self._by_process, mine)
        before, self._before = self._before, self._largest(brought)
        return 0 if before is None else int(before.addressable_data(0))
