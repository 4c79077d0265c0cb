"""The console script is ``python -m alexnet_jax``."""

import importlib
import sys
import tomllib
from pathlib import Path

from alexnet_jax.backend import memory


def test_it_keeps_freed_memory_and_runs_the_command(monkeypatch, capsys):
    """Measured under other settings, ``alexnet-jax benchmark step`` would give another figure."""
    metadata = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    module, _, name = metadata["project"]["scripts"]["alexnet-jax"].partition(":")
    kept = []
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: kept.append(True))
    monkeypatch.setattr(sys, "argv", ["alexnet-jax", "--help"])
    assert getattr(importlib.import_module(module), name)() == 0
    assert kept == [True]
    assert capsys.readouterr().out.startswith("usage: ")
