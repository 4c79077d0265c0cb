"""A disk that is full, or has become read-only, while a run saves: a tmpfs in a name space of its own."""

import subprocess
import sys

import pytest

from alexnet_jax.train import checkpoint
from tests.faults import harness

_PRIVATE = ["unshare", "--map-root-user", "--mount"]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux"
    or subprocess.run([*_PRIVATE, "true"], capture_output=True, check=False).returncode != 0,
    reason="needs Linux with unprivileged mount name spaces",
)


def _shell(tmp_path, script: str, *more: str) -> str:
    """Runs a script that has the training command as "$@", with a tmpfs of 120 MB mounted at the workdir."""
    mount = f'mount -t tmpfs -o size=120m none "{tmp_path}"\n'
    # What remains outside of the name space, to look at.
    copy = f'\nmkdir -p "{tmp_path}.kept"; cp -r "{tmp_path}/." "{tmp_path}.kept"\nexit $status'
    command = harness.command(tmp_path, "--config.checkpoint.max_failed_saves=3", *more)
    run = subprocess.run(
        [*_PRIVATE, "bash", "-c", mount + script + copy, "bash", *command],
        capture_output=True,
        text=True,
        env=harness.environment(),
        check=False,
    )
    output = run.stdout + run.stderr + f"\nstatus {run.returncode}"
    harness.assert_no_traceback(output)
    return output


def _wait(tmp_path, text: str) -> str:
    return f'until grep -qs "{text}" "{tmp_path}.log"; do kill -0 $run || break; sleep 0.02; done\n'


_RUN = 'touch "{0}.log"; "$@" >"{0}.log" 2>&1 & run=$!\n'
_END = 'wait $run; status=$?; cat "{0}.log"'


def test_a_full_disk_fails_saves_and_not_the_run(tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    output = _shell(
        workdir,
        _RUN.format(workdir)
        + _wait(workdir, "train step=6 ")
        + f'head -c 120M /dev/zero >"{workdir}/ballast" 2>/dev/null\n'
        + _wait(workdir, "(2 in a row")
        + f'rm "{workdir}/ballast"\n'
        + _END.format(workdir),
        "--config.num_epochs=40",
        "--config.checkpoint.max_failed_saves=1000",
    )
    assert "save of step" in output
    assert "failed (2 in a row; 1000 are borne): No space left on device" in output
    assert "eval step=480 " in output
    assert output.endswith("status 0")
    kept = workdir.with_suffix(".kept")
    assert checkpoint.latest_step(kept) == 480


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_too_many_failed_saves_end_the_run_and_the_earlier_checkpoint_restores(tmp_path, how):
    workdir = tmp_path / "run"
    workdir.mkdir()
    spoil = {
        "full": f'head -c 120M /dev/zero >"{workdir}/ballast" 2>/dev/null\n',
        "read-only": f'until mount -o remount,ro "{workdir}" 2>/dev/null; do sleep 0.01; done\n',
    }
    output = _shell(
        workdir,
        _RUN.format(workdir)
        + _wait(workdir, "train step=6 ")
        + spoil[how]
        + _END.format(workdir)
        + f'; mount -o remount,rw "{workdir}"; rm -f "{workdir}/ballast"',
        "--config.num_epochs=400",
    )
    assert "failed (3 in a row; 3 are borne)" in output
    assert "4 saves in a row failed, more than checkpoint.max_failed_saves=3 allows" in output
    assert output.endswith("status 1")
    kept = workdir.with_suffix(".kept")
    step = checkpoint.latest_step(kept)
    assert step is not None
    assert f"continues from step {step}" in harness.run(
        kept, f"--config.num_epochs={step // 12 + 1}"
    )
