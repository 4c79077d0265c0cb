"""The one-line equivalents of our sources' scripts: the command each becomes is one the trainer takes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet_jax import config as configuration
from alexnet_jax import main

ROOT = Path(__file__).parents[1]
DEEPSPARK, ASCEND = "configs/published/deepspark.py:1device", "configs/published/ascend_pytorch.py"

CASES = [
    (("train_1device.sh", DEEPSPARK, "DIR"), {"batch_size": 256, "model.precision": "float32"}),
    (
        ("train_1device_mixed.sh", DEEPSPARK, "DIR"),
        {"model.precision": "float16", "optimizer.loss_scale": "dynamic", "batch_size": 256},
    ),
    (("train_8devices.sh", ASCEND, "DIR"), {"batch_size": 1024, "optimizer.learning_rate": 0.04}),
    (
        ("train_8devices_mixed.sh", ASCEND, "DIR", "--config.seed=3"),
        {"model.precision": "float16", "optimizer.loss_scale": "dynamic", "seed": 3},
    ),
    (("performance.sh", ASCEND), {"num_epochs": 1, "data.source": "synthetic"}),
    (("evaluate.sh", ASCEND, "DIR", "runs/x", "--config.eval.protocol=ten_crop"), {}),
]


@pytest.mark.parametrize(("arguments", "expected"), CASES, ids=[case[0][0] for case in CASES])
def test_script_becomes_a_command_the_trainer_takes(arguments, expected):
    script, *rest = arguments
    run = subprocess.run(
        ["bash", f"scripts/{script}", *rest],
        cwd=ROOT,
        env=os.environ | {"PYTHON": "echo"},
        capture_output=True,
        text=True,
        check=True,
    )
    words = run.stdout.split()
    assert words[:2] == ["-m", "alexnet_jax.main"]
    others, assignments = main._split_overrides(words[1:])
    options = main._parse(others)
    config = configuration.load(str(ROOT / options.config))
    assert configuration.override(config, assignments) == []
    assert configuration.validate(config) == []
    assert {key: configuration.get(config, key) for key in expected} == expected
    assert options.mode == ("eval" if script == "evaluate.sh" else "train")


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("train_1device.sh", "CONFIG DATA"),
        ("train_1device_mixed.sh", "CONFIG DATA"),
        ("train_8devices.sh", "CONFIG DATA"),
        ("train_8devices_mixed.sh", "CONFIG DATA"),
        ("performance.sh", "CONFIG"),
        ("evaluate.sh", "CONFIG DATA WORKDIR"),
    ],
)
def test_a_script_without_its_arguments_tells_its_usage(script, names):
    needed = names.split()
    for given in range(len(needed)):
        run = subprocess.run(
            ["bash", f"scripts/{script}", *needed[:given]],
            cwd=ROOT,
            env=os.environ | {"PYTHON": "echo"},
            capture_output=True,
            text=True,
        )
        assert (run.returncode, run.stdout) == (2, "")
        assert run.stderr == (
            f"usage: bash scripts/{script} {names} [--config.KEY=VALUE ...]; "
            f"got {given} of {len(needed)} arguments\n"
        )


TELLS = """#!/usr/bin/env bash
# A Python that tells where it is and what it is asked to do.
printf '%s\\n' "$PWD" "$PYTHONPATH" "$@"
"""
LAUNCHERS = [
    ("train_1device.sh", DEEPSPARK, "my data"),
    ("train_1device_mixed.sh", DEEPSPARK, "my data"),
    ("train_8devices.sh", ASCEND, "my data", "--workdir", "my run"),
    ("train_8devices_mixed.sh", "my recipe.py:smoke", "my data"),
    ("performance.sh", ASCEND, "--config.data.path=my data"),
    ("evaluate.sh", DEEPSPARK, "my data", "my run"),
    ("gpu_report.sh", "my report", "--rounds", "2"),
    ("faults.sh", "-k", "kill or lock"),
]


@pytest.fixture
def elsewhere(tmp_path):
    """Returns a directory that is no checkout, with an interpreter and a recipe of the user's."""
    place = tmp_path / "some where"
    place.mkdir()
    (place / "my recipe.py").touch()
    return place


def executable(path, program):
    path.parent.mkdir(exist_ok=True)
    path.write_text(program)
    path.chmod(0o755)


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=[launcher[0] for launcher in LAUNCHERS])
def test_paths_are_those_of_where_a_script_is_started(elsewhere, launcher):
    script, *arguments = launcher
    executable(elsewhere / "my python", TELLS)
    run = subprocess.run(
        ["bash", ROOT / "scripts" / script, *arguments],
        cwd=elsewhere,
        env=os.environ | {"PYTHON": "./my python", "PYTHONPATH": "theirs"},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")
    where, path, *told = run.stdout.splitlines()
    assert (where, path) == (str(elsewhere), f"{ROOT}:theirs")
    for argument in arguments:
        recipe = argument.startswith("configs/")  # the checkout's
        asked = f"{ROOT}/{argument}" if recipe else argument
        assert any(word == asked or word.endswith(f"={asked}") for word in told), told


STAND_IN = """#!/usr/bin/env bash
# A Python that makes environments of itself and says what else it is asked to do.
case "$*" in
  *print*) echo 0.0 ;;
  -c*) ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *) echo "$*" ;;
esac
"""


@pytest.fixture
def quick_start(tmp_path, elsewhere):
    """Returns a function that runs the quick start of a checkout, started elsewhere, with the stand-in for Python."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    executable(elsewhere / "my python", STAND_IN)

    def run(*arguments):
        return subprocess.run(
            ["bash", "../scripts/quickstart.sh", *arguments],
            cwd=elsewhere,
            env=os.environ | {"PYTHON": "./my python"},
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize("arguments", [["--workdir", "runs/b"], ["--workdir=runs/b"]])
def test_the_quick_start_reports_on_the_run_it_trained(elsewhere, quick_start, arguments):
    (elsewhere / "runs/b").mkdir(parents=True)
    (elsewhere / "runs/b/run.json").touch()
    run = quick_start(*arguments)
    assert run.returncode == 0, run.stderr
    *_, trained, _, reported = run.stdout.splitlines()
    assert trained.endswith(" ".join(arguments))
    assert reported == "-m alexnet_jax report runs/b"


def test_an_environment_without_pip_is_made_anew(tmp_path, quick_start):
    """As Debian's Python leaves it behind where python3-venv is not installed."""
    left = tmp_path / ".venv-quickstart-0.0"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", left], check=True)
    run = quick_start()
    assert (run.returncode, run.stderr) == (0, "")
    assert (left / "bin/python").read_text() == STAND_IN
    assert quick_start().returncode == 0


def test_every_script_and_recipe_is_in_the_documentation():
    commands = (ROOT / "docs" / "migration.md").read_text()
    for (script, *_), _ in CASES:
        assert f"scripts/{script}" in commands
    table = (ROOT / "docs" / "recipes.md").read_text()
    for path in ROOT.glob("configs/**/*.py"):
        assert f"({os.path.relpath(path, ROOT / 'docs')})" in table
        assert f"(recipes/{path.stem}.svg)" in table
        assert (ROOT / "docs" / "recipes" / f"{path.stem}.svg").is_file()
