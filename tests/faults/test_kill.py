"""SIGKILL at random moments of the real command, and the same command again."""

import collections
import random
import signal
import subprocess
import time
from pathlib import Path

from alexnet_jax.train import checkpoint
from tests.faults import harness
from tests.train.runs import assert_same_bits, saved_arrays


def _kill(workdir: Path, draw: random.Random) -> str:
    """Starts the run, kills it at a random moment and returns what it was doing; "ended" if it was faster."""
    process = harness.start(workdir)
    try:
        if draw.random() < 0.25:
            time.sleep(draw.uniform(0, 6))
        else:
            done = checkpoint.latest_step(workdir) or 0
            step = draw.randint(min(done + 1, harness.STEPS), harness.STEPS)
            harness.wait_until(
                lambda: process.poll() is not None or harness.has_reached(workdir, step)()
            )
            time.sleep(draw.uniform(0, 0.3))
    finally:
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
    if process.returncode == 0:
        return "ended"
    assert process.returncode == -signal.SIGKILL, output
    if list((workdir / "checkpoints").glob("*tmp*")):
        return "saving"
    last = output.splitlines()[-1] if output else ""
    return "step or evaluation" if last.startswith(("train", "eval")) else "start"


def test_killed_runs_end_with_the_same_bits(tmp_path, uninterrupted, record_property):
    draw, kills = harness.draw("kill"), collections.Counter()
    wanted, runs = harness.count(2, 50), 0
    expected = saved_arrays(uninterrupted, harness.STEPS)
    while kills.total() < wanted:
        workdir = tmp_path / str(runs)
        for _ in range(draw.randint(1, min(4, wanted - kills.total()))):
            kills[_kill(workdir, draw)] += 1
            if kills.pop("ended", 0):
                break
        output = harness.run(workdir)
        harness.assert_no_traceback(output)
        assert output.splitlines()[-1].startswith(f"eval step={harness.STEPS} ")
        assert_same_bits(expected, saved_arrays(workdir, harness.STEPS))
        subprocess.run(["rm", "-r", workdir], check=True)
        runs += 1
    record_property("kills", dict(kills))
    print(f"{kills.total()} kills in {runs} runs: {dict(kills)}")
