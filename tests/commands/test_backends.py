"""The commands that compute do it on the backend that the environment names, or say why not."""

import os
import subprocess
import sys

import jax
import pytest

from alexnet_jax.__main__ import main
from tests.backend import plugin

COMMANDS = [
    "benchmark step --variant cifar32 --batch-size 16 --compile-only",
    "benchmark input --path nowhere",
    "benchmark all --path nowhere",
    "predict --weights nowhere.safetensors nowhere.jpg",
    "export --weights nowhere.safetensors {directory}/model.stablehlo",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_none_begins_elsewhere(command, tmp_path, monkeypatch, capsys):
    """Where JAX has started on the CPU, no other backend can be had: quickly said, without a plugin."""
    jax.devices()
    monkeypatch.setenv("ALEXNET_JAX_BACKEND", "ascend")
    assert main(command.format(directory=tmp_path).split()) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("backend 'ascend' was chosen after JAX had started on 'cpu', ")


def test_a_library_that_is_not_there(tmp_path):
    """In a process of its own, where --devices comes before JAX starts."""
    run = subprocess.run(
        [sys.executable, "-m", "alexnet_jax", *COMMANDS[0].split(), "--devices=2"],
        capture_output=True,
        text=True,
        env=os.environ
        | {"ALEXNET_JAX_BACKEND": "ascend", "ALEXNET_JAX_BACKEND_LIBRARY": f"{tmp_path}/x.so"},
    )
    assert (run.returncode, run.stdout) == (2, "")
    message = f"backend 'ascend': backend_library='{tmp_path}/x.so' does not exist. Try: "
    assert run.stderr.startswith(message)
    assert run.stderr.count("\n") == 1


def test_a_step_is_measured_there_and_the_device_named(tmp_path):
    variables = {"ALEXNET_JAX_BACKEND": "ascend", "ALEXNET_JAX_BACKEND_LIBRARY": plugin.library()}
    run = plugin.run("alexnet_jax", *COMMANDS[0].split(), cwd=tmp_path, **variables)
    assert run.returncode == 0, run.stderr
    figures = dict(line.split(maxsplit=1) for line in run.stdout.splitlines())
    assert "(ascend, " in figures["device"]
    assert figures["devices"] == "4"
