from pathlib import Path

import pytest

from tests.faults import harness


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory) -> Path:
    """A run to its end that nothing happened to."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    harness.run(workdir)
    return workdir


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test():
    yield
    harness.end_all()
