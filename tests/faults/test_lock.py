"""Two runs on one workdir."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from alexnet_jax.errors import RequestError
from alexnet_jax.train import lock
from tests.faults import harness


def test_the_second_run_is_refused_and_a_dead_ones_lock_is_taken_over(tmp_path):
    first = harness.start(tmp_path)
    harness.wait_until(lambda: (tmp_path / lock.FILE).exists(), first)
    first.send_signal(signal.SIGSTOP)  # it holds the workdir for as long as the second needs
    begin = time.monotonic()
    output = harness.run(tmp_path, status=2)
    assert time.monotonic() - begin < 30  # it looks before it starts JAX
    assert f"is in use by process {first.pid} on " in output
    harness.assert_no_traceback(output)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert (tmp_path / lock.FILE).exists()
    output = harness.run(tmp_path)
    assert f"took over {tmp_path} from process {first.pid} on " in output
    assert not (tmp_path / lock.FILE).exists()


def _write(workdir, host: str, process_id: int, age_seconds: float = 0):
    path = workdir / lock.FILE
    path.write_text(json.dumps({"host": host, "process_id": process_id}))
    now = time.time()
    os.utime(path, (now - age_seconds, now - age_seconds))
    return path


def test_a_lock_of_another_host_holds_while_it_is_renewed(tmp_path):
    _write(tmp_path, "elsewhere", 1, age_seconds=lock.STALE_SECONDS - 10)
    for refused in (lock.refuse_if_held, lambda workdir: lock.hold(workdir).__enter__()):
        with pytest.raises(RequestError, match=r"process 1 on elsewhere; .* 60 seconds after"):
            refused(tmp_path)
    _write(tmp_path, "elsewhere", 1, age_seconds=lock.STALE_SECONDS + 10)
    with lock.hold(tmp_path) as message:
        assert "from process 1 on elsewhere, which is dead" in message


def test_a_lock_is_renewed_and_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.01)
    path = tmp_path / lock.FILE
    with lock.hold(tmp_path) as message:
        assert message == ""
        assert json.loads(path.read_text())["process_id"] == os.getpid()
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 0:
            assert time.monotonic() < deadline
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "x"}'])
def test_a_lock_that_was_cut_off_does_not_block(tmp_path, text):
    (tmp_path / lock.FILE).write_text(text)
    with lock.hold(tmp_path):
        pass


def test_of_many_that_start_at_once_one_runs(tmp_path):
    """The race for the lock itself, without JAX's start."""
    code = (
        "import sys, time; from pathlib import Path; from alexnet_jax.train import lock\n"
        "sys.stdin.read()\n"
        "with lock.hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(3)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=harness.environment(),
        )
        for _ in range(harness.count(2, 8))
    ]
    time.sleep(harness.count(5, 15))  # all have imported
    for process in processes:
        process.stdin.close()
    outputs = [process.stdout.read() for process in processes]
    for process in processes:
        process.wait()
        process.stdout.close()
    assert sum("held" in output for output in outputs) == 1
