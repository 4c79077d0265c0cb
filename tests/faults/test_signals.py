"""SIGTERM and SIGINT at random moments, to runs of one process and of two."""

import signal
import subprocess
import sys
import time

import pytest

from alexnet_jax.train import checkpoint
from alexnet_jax.train.stopping import SIGNALS, StopRequest
from tests.faults import harness
from tests.train.runs import assert_same_bits, saved_arrays

# So long that no signal comes too late.
LONG = "--config.num_epochs=2000"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends(tmp_path, number):
    """Nothing is lost: the checkpoint is of the last step that was trained."""
    draw = harness.draw(number.name)
    for time_of in range(harness.count(1, 25)):
        workdir = tmp_path if time_of < 2 else tmp_path / str(time_of)
        process = harness.start(workdir, LONG)
        before = checkpoint.latest_step(workdir) or 0
        harness.wait_until(harness.has_reached(workdir, before + draw.randint(1, 30)), process)
        time.sleep(draw.uniform(0, 0.3))
        process.send_signal(number)
        output, _ = process.communicate(timeout=100)
        assert process.returncode == 128 + number, output
        harness.assert_no_traceback(output)
        saved = checkpoint.latest_step(workdir)
        assert f"stopped by {number.name} after step={saved}, which is saved" in output
        assert saved == harness.last_step(workdir) > before


def test_a_stopped_run_ends_with_the_same_bits(tmp_path, uninterrupted):
    process = harness.start(tmp_path)
    harness.wait_until(harness.has_reached(tmp_path, 5), process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert checkpoint.latest_step(tmp_path) < harness.STEPS
    harness.run(tmp_path)
    assert_same_bits(
        saved_arrays(uninterrupted, harness.STEPS), saved_arrays(tmp_path, harness.STEPS)
    )


def test_a_second_signal_ends_at_once_and_harms_no_checkpoint(tmp_path):
    """A run that had saved before the second came does not count."""
    at_once, wanted = 0, harness.count(1, 10)
    for _ in range(4 * wanted):
        recorded = harness.last_step(tmp_path)  # perhaps past the last checkpoint
        process = harness.start(tmp_path, LONG)
        assert process.stdout is not None
        harness.wait_until(harness.has_reached(tmp_path, recorded + 6), process)
        harness.wait_until(lambda: checkpoint.latest_step(tmp_path) is not None, process)
        process.send_signal(signal.SIGTERM)
        while "a second signal ends at once" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        output, _ = process.communicate(timeout=100)
        # As a signal in Python's terms where it came when the run was about to exit, also 143 to a shell.
        assert process.returncode in (143, -signal.SIGTERM)
        assert checkpoint.latest_step(tmp_path) is not None
        if "second signal: ends at once" in output:
            assert time.monotonic() - begin < 10
            at_once += 1
        if at_once == wanted:
            break
    assert at_once == wanted


def test_a_second_signal_ends_a_run_that_waits_for_the_device():
    """Stands for it: a call that returns to Python in an hour, and lets other threads run."""
    code = (
        "import hashlib; from alexnet_jax.train.stopping import StopRequest\n"
        "with StopRequest():\n"
        "    print('waits', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=harness.environment(),
    )
    try:
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGTERM)
        assert "a second signal ends at once" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    finally:
        process.kill()
        process.communicate()


def test_signals_are_handled_as_before_afterwards():
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopRequest() as stop:
        assert [signal.getsignal(number) for number in SIGNALS] != before
        assert stop.poll() == 0
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_two_processes_agree_on_the_step(tmp_path):
    for time_of in range(harness.count(1, 10)):
        draw = harness.draw(f"two {time_of}")
        workdir = tmp_path / str(time_of)
        processes = [harness.start(workdir, LONG, *told) for told in harness.job_settings(2)]
        harness.wait_until(harness.has_reached(workdir, draw.randint(2, 20)), *processes)
        time.sleep(draw.uniform(0, 0.3))
        victim = draw.randrange(2)  # one alone is told
        processes[victim].send_signal(signal.SIGTERM)
        outputs = [process.communicate(timeout=100)[0] for process in processes]
        assert [process.returncode for process in processes] == [143, 143], outputs
        saved = checkpoint.latest_step(workdir)
        for output in outputs:
            assert f"stopped by SIGTERM after step={saved}, which is saved" in output
        assert saved == harness.last_step(workdir)


def test_the_launcher_passes_a_signal_on_and_waits(tmp_path):
    script = ["bash", str(harness.ROOT / "scripts/train_local.sh"), "2"]
    environment = {**harness.environment(), "PYTHON": sys.executable}
    process = subprocess.Popen(
        [*script, *harness.command(tmp_path, LONG)[3:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    harness.wait_until(harness.has_reached(tmp_path, 5), process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 143, output
    assert checkpoint.latest_step(tmp_path) == harness.last_step(tmp_path)
    assert output.count("which is saved") == 2
