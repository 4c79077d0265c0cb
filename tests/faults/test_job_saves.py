"""A save that fails in one process of a job, whose others wait for what it has not written."""

import pytest

from alexnet_jax.train import checkpoint
from tests.faults import harness


@pytest.mark.parametrize("failing", [0, 1])
def test_a_save_that_fails_in_one_process_ends_the_job(tmp_path, failing):
    processes = [
        harness.start(tmp_path, *told, file_bytes=2**17 if number == failing else None)
        for number, told in enumerate(harness.job_settings(2))
    ]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [1, 1], outputs
    text = f"save of step 4 failed in process {failing} of 2: File too large. The job ends; there is none in "
    assert text in outputs[failing]
    for output in outputs:
        harness.assert_no_traceback(output)
    assert checkpoint.latest_step(tmp_path) is None
