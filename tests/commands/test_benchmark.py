import json
import os
import subprocess
import sys

import pytest

from alexnet_jax.__main__ import main
from alexnet_jax.train import resident

KEYS = {
    *("variant", "batch_size", "precision", "parallelism", "devices", "images_per_second"),
    *("step_milliseconds", "collective_bytes", "flops_per_image", "model_flops_utilization"),
}


def test_step_has_the_contract_s_keys(capsys):
    options = ["--variant", "cifar32", "--batch-size", "16", "--steps", "3", "--json"]
    assert main(["benchmark", "step", *options]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == KEYS
    assert figures["devices"] == 4
    assert figures["precision"] == "float32"
    assert figures["flops_per_image"] == 6 * 14_957_056
    rate = figures["batch_size"] / figures["step_milliseconds"] * 1e3
    assert figures["images_per_second"] == pytest.approx(rate)
    assert 0 < figures["model_flops_utilization"] < 1
    # Every gradient, by the ring: (4 - 1) / 4 of them, twice.
    assert figures["collective_bytes"] == pytest.approx(2 * 3 / 4 * 4 * 2_472_266, rel=1e-3)


def test_step_where_the_images_would_lie_on_the_device(capsys, monkeypatch):
    """As on any GPU: it tells its memory, and the one batch is far less than a quarter of it."""
    monkeypatch.setattr(resident, "memory_bytes", lambda device: 2**40)
    options = ["--variant", "cifar32", "--batch-size", "16", "--steps", "1", "--json"]
    assert main(["benchmark", "step", *options]) == 0
    assert json.loads(capsys.readouterr().out)["images_per_second"] > 0


def test_table(capsys):
    options = ["--variant", "cifar32", "--batch-size", "16", "--compile-only"]
    assert main(["benchmark", "step", *options]) == 0
    printed = capsys.readouterr().out
    assert "images_per_second        not measured" in printed
    assert "parallelism              jit" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variant", "vgg"], "unknown variant 'vgg'"),
        (["--batch-size", "6"], "batch_size=6 cannot be split over 4 devices"),
        (["--batch-size", "0"], "batch_size=0 is not possible"),
    ],
)
def test_bad_requests(capsys, options, message):
    assert main(["benchmark", "step", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "option", "rule"),
    [
        ("step", "--steps=0", "at least 1"),
        ("all", "--steps=0", "at least 1"),
        ("all", "--steps=-2", "at least 1"),
        ("step", "--devices=0", "at least 1"),
        ("step", "--devices=-1", "at least 1"),
        ("input", "--seconds=0.0", "a number above 0"),
        ("input", "--seconds=nan", "a number above 0"),
        ("all", "--seconds=inf", "a number above 0"),
    ],
)
def test_impossible_numbers_are_refused_before_anything_is_measured(capsys, kind, option, rule):
    assert main(["benchmark", kind, option, *(["--path=nowhere"] if kind != "step" else [])]) == 2
    assert capsys.readouterr().err == f"{option} is not possible; use {rule}.\n"


def test_as_many_cpu_devices_as_asked_for():
    """In a process of its own: devices are counted before JAX starts."""
    command = [sys.executable, "-m", "alexnet_jax", "benchmark", "step", "--variant", "cifar32"]
    options = ["--batch-size", "16", "--devices", "8", "--compile-only", "--json"]
    environment = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"}
    environment["JAX_PLATFORMS"] = "cpu"
    run = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=True, env=environment
    )
    figures = json.loads(run.stdout)
    assert figures["devices"] == 8
    assert figures["images_per_second"] is None
    assert figures["collective_bytes"] == pytest.approx(2 * 7 / 8 * 4 * 2_472_266, rel=1e-3)
