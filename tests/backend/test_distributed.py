"""Which processes make a job: what the settings say, and what launchers set."""

import os

import pytest
from jax._src.clusters import SlurmCluster

from alexnet_jax.backend import distributed
from alexnet_jax.errors import RequestError

STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}


@pytest.fixture
def joined(monkeypatch):
    """A process without a launcher; returns what was joined."""
    for variable in [name for name in os.environ if name.startswith(("SLURM_", "OMPI_"))]:
        monkeypatch.delenv(variable)
    calls = []
    monkeypatch.setattr(distributed, "_initialize", lambda *arguments: calls.append(arguments))
    return calls


def _set(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_a_slurm_job_is_joined_where_jax_finds_it(joined, monkeypatch):
    """Not in the shell of an allocation, which has the number of tasks and no step."""
    _set(monkeypatch, STEP)
    assert SlurmCluster.is_env_present()
    distributed.join("", 0, -1)
    assert joined == [()]
    for missing in STEP:
        with monkeypatch.context() as patch:
            patch.delenv(missing)
            assert not SlurmCluster.is_env_present()
            distributed.join("", 0, -1)
            distributed.check_process_count(0)
            assert distributed.is_first(0, -1)
    assert joined == [()]


def test_an_open_mpi_job_is_joined(joined, monkeypatch):
    _set(monkeypatch, OPEN_MPI)
    distributed.join("", 0, -1)
    assert joined == [()]


@pytest.mark.parametrize("launcher", [STEP, OPEN_MPI])
def test_one_process_alone_is_no_job_whatever_a_launcher_says(joined, monkeypatch, launcher):
    distributed.join("", 1, -1)
    _set(monkeypatch, launcher)
    distributed.join("", 1, -1)
    distributed.check_process_count(1)
    assert distributed.is_first(1, -1)
    assert joined == []


@pytest.mark.parametrize("launcher", [STEP, OPEN_MPI])
def test_the_first_process_of_a_job(joined, monkeypatch, launcher):
    assert distributed.is_first(0, -1)
    assert distributed.is_first(2, 0)
    assert not distributed.is_first(2, 1)
    _set(monkeypatch, launcher)
    assert not distributed.is_first(0, -1)
    assert distributed.is_first(2, 0)  # the settings go before
    rank = next(name for name in launcher if name.endswith(("PROCID", "WORLD_RANK")))
    monkeypatch.setenv(rank, "0")
    assert distributed.is_first(0, -1)


def test_a_launcher_s_variable_that_is_no_number(joined, monkeypatch):
    _set(monkeypatch, STEP | {"SLURM_NTASKS": "2(x4)"})
    with pytest.raises(RequestError) as caught:
        distributed.join("", 0, -1)
    assert str(caught.value) == (
        "SLURM_NTASKS='2(x4)', which a launcher sets, is not a number; start with the launcher, or use "
        "--config.distributed.num_processes=1 for one process alone."
    )
