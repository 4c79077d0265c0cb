"""The console script is ``python -m alexnet_jax``, and how it ends."""

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from alexnet_jax import __main__ as door
from alexnet_jax.backend import memory
from alexnet_jax.commands import pack

ROOT = Path(__file__).parents[1]


def test_it_keeps_freed_memory_and_runs_the_command(monkeypatch, capsys):
    """Measured under other settings, ``alexnet-jax benchmark step`` would give another figure."""
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())
    module, _, name = metadata["project"]["scripts"]["alexnet-jax"].partition(":")
    kept = []
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: kept.append(True))
    monkeypatch.setattr(sys, "argv", ["alexnet-jax", "--help"])
    assert getattr(importlib.import_module(module), name)() == 0
    assert kept == [True]
    assert capsys.readouterr().out.startswith("usage: ")


def test_a_reader_that_has_seen_enough_ends_it_in_silence():
    with subprocess.Popen(
        [sys.executable, "-m", "alexnet_jax", "--help"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_an_interrupted_command_says_so(monkeypatch, capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(pack, "main", interrupted)
    assert door.main(["pack", "digits", "out"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
