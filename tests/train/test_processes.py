"""Jobs of several real processes on this machine, over JAX's own runtime."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import alexnet_jax
from alexnet_jax.data.order import TrainOrder
from alexnet_jax.train import checkpoint, loop
from alexnet_jax.train.writers import read_metrics
from tests.data.photos import jpeg, truncated
from tests.train.runs import build, saved_arrays, small_config

ROOT = Path(__file__).parents[2]


def _environment(devices: int = 1) -> dict[str, str]:
    variables = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
    return {**os.environ, **variables, "JAX_NUM_CPU_DEVICES": str(devices)}


def _arguments(workdir: Path, *more: str) -> list[str]:
    return [
        *(f"--config={ROOT}/configs/digits.py", f"--workdir={workdir}", "--config.num_epochs=2"),
        *("--config.log_every_steps=4", "--config.checkpoint.every_steps=10", *more),
        # "fast" formulates a convolution by how many images a process has: other roundings, which 44 steps make large.
        "--config.model.layers=plain",
    ]


def _job(count: int, arguments: list[str]) -> list[subprocess.Popen]:
    """Starts the processes of a job, without the script, so that each can be killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = []
    for number in range(count):
        job = [
            f"--config.distributed.coordinator={address}",
            f"--config.distributed.num_processes={count}",
            f"--config.distributed.process_id={number}",
        ]
        command = [sys.executable, "-m", "alexnet_jax.main", *arguments, *job]
        processes.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=_environment(),
            )
        )
    return processes


def _alone(workdir: Path) -> str:
    command = [sys.executable, "-m", "alexnet_jax.main", *_arguments(workdir)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=_environment())
    return run.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("alone")
    _alone(workdir)
    return workdir


def _assert_same_result(one: Path, other: Path) -> None:
    """Same counts and losses; parameters and momenta close as a whole.

    A rounding can switch a unit: with the images in four parts one of conv5's does at the first step, and the gradients
    before it differ by 1e-3 (with another seed by 4e-7). 44 steps make 3e-4 of the parameters' norm of it, 0.05 of the
    momenta's.
    """
    first, second = read_metrics(one), read_metrics(other)
    assert [(r["step"], r["split"]) for r in first] == [(r["step"], r["split"]) for r in second]
    for mine, theirs in zip(first, second, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    arrays, others = saved_arrays(one, 44), saved_arrays(other, 44)
    for kind, limit in (("params", 1e-3), ("trace", 0.2)):
        names = [name for name in arrays if kind in name]
        difference = [np.linalg.norm(arrays[name] - others[name]) for name in names]
        whole = [np.linalg.norm(others[name]) for name in names]
        assert np.linalg.norm(difference) < limit * np.linalg.norm(whole), kind


def _script(count: int, arguments: list[str], devices: int = 1) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(ROOT / "scripts/train_local.sh"), str(count), *arguments],
        capture_output=True,
        text=True,
        env=_environment(devices),
    )


@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_train_to_the_result_of_one(tmp_path, alone, count):
    run = _script(count, _arguments(tmp_path))
    assert run.returncode == 0, run.stderr
    lines = [line for line in run.stdout.splitlines() if line.startswith("eval step=44 ")]
    assert len(lines) == 1
    assert lines[0].endswith(" n=360")
    _assert_same_result(alone, tmp_path)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_dead_process_ends_the_others_and_one_continues(tmp_path, alone, victim):
    processes = _job(2, _arguments(tmp_path))
    metrics = tmp_path / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while not metrics.exists() or '"step": 12,' not in metrics.read_text():
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.01)
    processes[victim].send_signal(signal.SIGKILL)
    start = time.monotonic()
    output, _ = processes[1 - victim].communicate(timeout=60)
    assert time.monotonic() - start < 60
    assert processes[1 - victim].returncode == 1, output
    processes[victim].communicate()

    found = checkpoint.latest_step(tmp_path)
    assert found is None or found < 44
    _alone(tmp_path)
    _assert_same_result(alone, tmp_path)


TINY = f"--config={ROOT}/tests/faults/tiny.py"


def test_pmap_over_processes_of_several_devices(tmp_path):
    several, one = tmp_path / "several", tmp_path / "one"
    settings = [f"--workdir={several}", "--config.num_epochs=1", "--config.model.layers=plain"]
    run = _script(2, [TINY, *settings, "--config.parallelism=pmap"], devices=2)
    assert run.returncode == 0, run.stderr
    settings = {"num_epochs": 1, "log_every_steps": 1, "model.layers": "plain"}
    loop.train(build(small_config(**settings)), one)
    losses = [[record["loss"] for record in read_metrics(workdir)] for workdir in (several, one)]
    assert len(losses[0]) == 13  # 12 steps and an evaluation
    np.testing.assert_allclose(*losses, rtol=1e-4)


NARROW = """
import dataclasses

from alexnet_jax.model.variants import VARIANTS
from tests.faults.tiny import get_config

VARIANTS["deepspark"] = dataclasses.replace(VARIANTS["deepspark"], hidden=({0}, {0}))
"""


def test_hybrid_processes_start_from_a_file(tmp_path, narrow):
    """Each holds a part of the dense layers; the classifier is new, the rest the file's, the average of both too."""
    (tmp_path / "narrow.py").write_text(NARROW.format(narrow))
    changes = {"model.variant": "deepspark", "data.image_size": 32}
    model = alexnet_jax.create("deepspark", num_classes=7, image_size=32, seed=5)
    alexnet_jax.save(model, tmp_path / "model.safetensors")
    changes |= {"num_epochs": 1, "data.synthetic_examples": 8, "optimizer.learning_rate": 0.0}
    changes |= {"optimizer.ema_decay": 0.9}
    arguments = [f"--config.{key}={value}" for key, value in changes.items()]
    run = _script(
        2,
        [
            *(f"--config={tmp_path}/narrow.py", f"--workdir={tmp_path / 'run'}", *arguments),
            *("--config.parallelism=hybrid", f"--config.init_weights={tmp_path}/model.safetensors"),
        ],
    )
    assert run.returncode == 0, run.stderr
    assert "but for fc8: new, as there are 10 classes" in run.stdout
    arrays = saved_arrays(tmp_path / "run", 1)
    drawn = build(small_config(**changes)).initial_state.params
    for tree in ("params", "ema_params"):
        for layer in ("conv1", "fc6", "fc7"):
            kernel, expected = arrays[f"['{tree}']['{layer}']['kernel']"], getattr(model, layer)
            np.testing.assert_allclose(kernel, expected.kernel, rtol=0, atol=1e-7)
        np.testing.assert_allclose(
            arrays[f"['{tree}']['fc8']['kernel']"], drawn["fc8"]["kernel"], rtol=0, atol=1e-7
        )


RECIPE = """
from alexnet_jax.config import default_config

def get_config():
    config = default_config()
    config.model.variant, config.model.num_classes = "cifar32", 2
    config.batch_size, config.num_epochs, config.log_every_steps = 16, 2, 1
    config.eval.protocol = "squash"
    return config
"""


def _broken_folder(root: Path, *readers: tuple[int, int]) -> list[str]:
    """Writes 48 training images, some of them broken, and a recipe of 2 epochs of 3 steps; returns the arguments.

    Args:
      root: Where to.
      readers: For each broken image, which of two processes reads it in the first epoch, and which in the second.
    """
    order = TrainOrder(48, 16, 0)
    shown = set(order.indices(6))  # in a picture, by the first process
    images: dict[tuple[int, ...], list[int]] = {}
    for image in set(range(1, 48, 2)) - shown:  # none beside another
        rows = [np.flatnonzero(order.indices(step) == image) for step in range(6)]
        images.setdefault(tuple(int(row[0]) // 8 for row in rows if len(row)), []).append(image)
    broken = {images[pair].pop() for pair in readers}
    for split, count in (("train", 48), ("val", 16)):
        for number in range(count):
            file = root / split / f"class{2 * number // count}" / f"{number:03}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            bad = split == "train" and number in broken
            file.write_bytes((truncated if bad else jpeg)(number + 50 * (split == "val")))
    (root / "recipe.py").write_text(RECIPE)
    return [f"--config={root}/recipe.py", f"--workdir={root}/run", f"--config.data.path={root}"]


def _outcomes(processes: list[subprocess.Popen]) -> list[tuple[int, str]]:
    """Returns the processes' statuses and what they printed; they end within a minute of each other."""
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)
            stack.callback(process.kill)
        deadline = time.monotonic() + 400
        while all(process.poll() is None for process in processes):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        outputs = [process.communicate(timeout=60)[0] for process in processes]
        return [
            (process.returncode, output) for process, output in zip(processes, outputs, strict=True)
        ]


def test_a_broken_image_counts_once_whichever_processes_meet_it(tmp_path):
    arguments = _broken_folder(tmp_path, (0, 0), (0, 1), (1, 0), (1, 1))
    for status, output in _outcomes(_job(2, [*arguments, "--config.data.max_broken_fraction=0.1"])):
        assert status == 0, output
    records = {(r["step"], r["split"]): r for r in read_metrics(tmp_path / "run")}
    for step in (3, 6):
        assert records[step, "train"]["broken_images"] == 4
        assert records[step, "eval"]["broken_images"] == 0
    card = json.loads((tmp_path / "run" / "run.json").read_text())
    assert card["broken_images"] == {"train": 4, "eval": 0}


def test_processes_that_find_too_many_broken_images_together_end_together(tmp_path):
    arguments = _broken_folder(tmp_path, (0, 0), (1, 1))
    for status, output in _outcomes(
        _job(2, [*arguments, "--config.data.max_broken_fraction=0.03"])
    ):
        assert status == 2, output
        assert "2 of the 48 train images cannot be read, more than" in output
        assert "Traceback" not in output


def test_a_process_that_finds_too_many_broken_images_alone_ends_the_job(tmp_path):
    arguments = _broken_folder(tmp_path, (1, 1), (1, 1))
    outcomes = _outcomes(_job(2, [*arguments, "--config.data.max_broken_fraction=0.03"]))
    assert [status for status, _ in outcomes] == [1, 1], outcomes
    assert "2 of the 48 train images cannot be read, more than" in outcomes[1][1]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (["--config.distributed.num_processes=2"], "go together; give all three or none"),
        (
            [
                "--config.distributed.coordinator=127.0.0.1:1",
                "--config.distributed.num_processes=2",
                "--config.distributed.process_id=2",
            ],
            "distributed.process_id=2 is not in 0 to 1",
        ),
    ],
)
def test_bad_jobs(tmp_path, job, message):
    command = [sys.executable, "-m", "alexnet_jax.main", *_arguments(tmp_path), *job]
    run = subprocess.run(command, capture_output=True, text=True, env=_environment())
    assert run.returncode == 2
    assert message in run.stderr


def test_the_script_wants_a_number():
    run = subprocess.run(
        ["bash", str(ROOT / "scripts/train_local.sh"), "many"], capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "got N='many', not a number of processes" in run.stderr
