"""Two runs on one workdir."""

import contextlib
import json
import os
import platform
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
    # Not the file's coming to be: it is locked and written some instants later.
    harness.wait_until(lambda: str(first.pid) in _text(tmp_path / lock.FILE), first)
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


def _text(path) -> str:
    return path.read_text() if path.exists() else ""


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


def test_a_job_takes_its_own_lock_over_whatever_host_its_other_processes_are_on(tmp_path):
    """The lock of a job that died names the first process's host; the second one sees that of a live run elsewhere."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    _write(tmp_path, platform.node(), dead.pid, age_seconds=-600)  # young, however long JAX needs
    jobs = harness.job_settings(2)
    elsewhere = (
        "import platform, runpy; platform.node = lambda: 'elsewhere'; "
        "runpy.run_module('alexnet_jax.main', run_name='__main__')"
    )
    with contextlib.ExitStack() as stack:
        processes = []
        for number, program in enumerate((["-m", "alexnet_jax.main"], ["-c", elsewhere])):
            arguments = harness.command(tmp_path, "--config.num_epochs=1", *jobs[number])[3:]
            process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=harness.environment(),
            )
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        other, first = (process.communicate(timeout=250)[0] for process in reversed(processes))
        assert [process.returncode for process in processes] == [0, 0], first + other
    assert f"took over {tmp_path} from process {dead.pid} on " in first


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


def test_a_run_whose_lock_was_taken_over_ends_and_leaves_it(tmp_path):
    """As one that another host took for dead, where the file system's locks do not reach."""
    code = (
        "import sys, time; from pathlib import Path; from alexnet_jax.train import lock\n"
        "lock.RENEW_SECONDS = 0.05\n"
        "with lock.hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(100)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=harness.environment(),
    )
    try:
        assert process.stdout.readline() == "held\n"
        path = _write(tmp_path, "elsewhere", 7, age_seconds=5)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 1
    assert (
        f"{tmp_path} was taken over by process 7 on elsewhere, as this run gave no sign" in errors
    )
    assert time.time() - path.stat().st_mtime > 5  # it was not renewed


def test_another_runs_lock_is_not_removed(tmp_path):
    with lock.hold(tmp_path):
        path = _write(tmp_path, "elsewhere", 7)
    assert path.exists()


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
