"""SIGKILL at random moments of the real command, and the same command again."""

import collections
import random
import shutil
import signal
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
    killed_runs, wanted = 0, harness.count(1, 50)
    expected = saved_arrays(uninterrupted, harness.STEPS)
    while killed_runs < wanted:
        workdir = tmp_path / "run"
        before = kills.total()
        for _ in range(draw.randint(1, 3)):
            moment = _kill(workdir, draw)
            if moment == "ended":
                break
            kills[moment] += 1
        output = harness.run(workdir)
        harness.assert_no_traceback(output)
        assert output.splitlines()[-1].startswith(f"eval step={harness.STEPS} ")
        assert_same_bits(expected, saved_arrays(workdir, harness.STEPS))
        shutil.rmtree(workdir)
        killed_runs += kills.total() > before
    record_property("kills", dict(kills))
    print(f"{kills.total()} kills of {killed_runs} runs: {dict(kills)}")
