"""The documents hold: every setting is listed, every link leads somewhere, the README's code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from alexnet_jax.config import default_config, get
from alexnet_jax.config.rules import CHOICES
from alexnet_jax.model.summary import summarize
from alexnet_jax.model.variants import variants

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _keys(config: ConfigDict, prefix: str = "") -> list[str]:
    keys = []
    for name, value in config.items():
        nested = isinstance(value, ConfigDict) and len(value)
        keys += _keys(value, f"{prefix}{name}.") if nested else [prefix + name]
    return keys


def test_configuration_page_lists_every_key_with_its_default():
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.+) \|$", _page("configuration"), re.MULTILINE)
    config = default_config()
    assert {key for key, _, _ in rows} == set(_keys(config))
    for key, default, meaning in rows:
        value = get(config, key)
        if isinstance(value, bool | int | str) and value != "":
            assert default == f"`{value}`", key
        for choice in CHOICES.get(key, ()):
            assert f"`{choice}`" in meaning, key


def _page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_readme_code_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'fc8': (1, 1000)" in run.stdout


def test_readme_counts_are_the_networks():
    readme = (ROOT / "README.md").read_text()
    for name in variants():
        summary = summarize(name)
        row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}`"))
        assert f"{summary.parameters:,}" in row
        assert f"{summary.macs:,}" in row
