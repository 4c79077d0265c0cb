"""The documents hold: every setting and public name is listed, every link leads somewhere, the code in them runs."""

import dataclasses
import importlib
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from safetensors.numpy import load_file, save_file

import alexnet_jax
from alexnet_jax import __main__, main
from alexnet_jax import config as configuration
from alexnet_jax.backend.platforms import Backend
from alexnet_jax.config import default_config, get
from alexnet_jax.config.rules import CHOICES
from alexnet_jax.data.sources import SOURCES
from alexnet_jax.model.summary import summarize
from alexnet_jax.model.variants import VARIANTS, variants
from tests.documents import PAGES, ROOT, anchors, blocks, links

EXTENDING = "extending"


def _page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


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


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_and_anchors_lead_somewhere(page):
    for target in links(page.read_text()):
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text()), target


def test_anchors_are_made_by_the_rule_of_the_sites():
    text = "# A `b` of C: d\n\n## 说明文字 与代码\n\n```bash\n# no heading\n```\n### x-y_z, 2\n"
    assert anchors(text) == {"a-b-of-c-d", "说明文字-与代码", "x-y_z-2"}
    assert links("[a](b.md#c) `[x](y)` [e](https://e)\n```\n[f](g)\n```\n") == ["b.md#c"]


def _entries() -> set[str]:
    found = re.findall(
        r"^\.\. (?:auto|py:)(?:function|class|exception|data):: (\S+)$", _page("reference"), re.M
    )
    assert len(found) == len(set(found))
    return set(found)


def test_every_public_name_has_an_entry():
    package = Path(alexnet_jax.__file__).parent
    public = [f"alexnet_jax.{name}" for name in alexnet_jax.__all__]
    for path in package.rglob("*.py"):
        if path.parent != package and "\n__all__ = " in path.read_text():
            name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
            module = importlib.import_module(name.removesuffix(".__init__"))
            public += [f"{module.__name__}.{name}" for name in module.__all__]
    assert len(public) > 10
    assert set(public) <= _entries()


def test_every_entry_is_a_name_with_a_docstring():
    for entry in _entries() - {"alexnet_jax.__version__"}:
        module, _, name = entry.rpartition(".")
        assert getattr(importlib.import_module(module), name).__doc__, entry


def _code(text: str) -> list[str]:
    return [re.sub(r" *#.*", "", block) for block in blocks(text, "python")]


def _run(code: str, module: str) -> types.ModuleType:
    space = types.ModuleType(module)
    exec(compile(code, module, "exec"), space.__dict__)
    return space


def test_readme_code_runs(capsys):
    (code,) = blocks((ROOT / "README.md").read_text(), "python")
    _run(code, "readme")
    assert "'fc8': (1, 1000)" in capsys.readouterr().out


def test_chinese_readme_has_the_same_code_and_recording():
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh.md"))
    assert blocks(chinese, "text") == blocks(english, "text")
    assert _code((ROOT / "README.zh.md").read_text()) == _code((ROOT / "README.md").read_text())


def test_library_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # where a run is in runs/digits
    recipe = ROOT / "configs" / "digits.py"
    assert main.main(["main", f"--config={recipe}", "--config.num_epochs=1", "--quiet"]) == 0
    for code in blocks(_page("library"), "python"):
        _run(code, "library")
    printed = capsys.readouterr().out
    assert "'fc6': (2, 10)" in printed
    assert "(1, 32, 32, 3) (1, 256)" in printed
    assert "(11, 11, 3, 64)" in printed
    assert re.search(r"^0\.\d{3} is a \d$", printed, re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_readme_counts_are_the_networks(name):
    readme = (ROOT / name).read_text()
    for variant in variants():
        summary = summarize(variant)
        row = next(line for line in readme.splitlines() if line.startswith(f"| `{variant}`"))
        assert f"{summary.parameters:,}" in row
        assert f"{summary.macs:,}" in row


def test_chinese_recipes_have_the_english_figures():
    def figures(name: str) -> dict[str, list[str]]:
        rows = re.findall(r"^\| \[(\w+)\]\(\S+\) (.*)$", _page(name), re.MULTILINE)
        return {recipe: re.findall(r"`\S+?`|\d[\d.e-]*", row) for recipe, row in rows}

    assert len(figures("zh/recipes")) >= 10
    assert figures("zh/recipes").items() <= figures("recipes").items()


@pytest.fixture
def extended(monkeypatch):
    """The code of the page about extending: data set, variant, recipe and backend."""
    data_set, variant, recipe, backend = blocks(_page(EXTENDING), "python")
    monkeypatch.setitem(SOURCES, "npz", _run(data_set, "npz").open_split)
    half = _run(variant, "half").HALF
    monkeypatch.setitem(VARIANTS, half.name, half)
    return recipe, _run(backend, "vendor").BACKEND


def test_extending_variant_counts(extended):
    summary = summarize("half")
    text = f"{summary.parameters:,} parameters and {summary.macs:,} multiply-accumulates"
    assert text in _page(EXTENDING)


def test_extending_data_set_variant_and_recipe_train(extended, tmp_path, capsys):
    recipe, _ = extended
    (tmp_path / "half.py").write_text(recipe)
    arguments = ["main", f"--config={tmp_path}/half.py", f"--workdir={tmp_path}/run"]
    arguments += [f"--config.data.path={tmp_path}"]
    assert main.main(arguments) == 2
    assert "has no train.npz; make it with numpy.savez." in capsys.readouterr().err

    generator = np.random.default_rng(0)
    for split, count in (("train", 24), ("eval", 9)):
        images = generator.integers(0, 256, (count, 64, 64, 3), np.uint8)
        names = np.array([f"class {number}" for number in range(10)])
        labels = np.arange(count) % 10
        np.savez(tmp_path / f"{split}.npz", images=images, labels=labels, names=names)
    assert main.main(arguments) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("eval step=3 ")
    assert last.endswith(" n=9")
    assert __main__.main(["convert", f"{tmp_path}/run", f"{tmp_path}/half.safetensors"]) == 0
    assert capsys.readouterr().out.startswith("half, 10 classes, 921,258 parameters: ")


@pytest.mark.parametrize("changes", [{}, {"name": "half_normalised", "batch_norm": True}])
def test_extending_variant_is_saved_and_loaded(extended, monkeypatch, tmp_path, changes):
    """By our names of its layers, where no publisher has others; also where a file does not say which variant it is."""
    half = dataclasses.replace(VARIANTS["half"], **changes)
    monkeypatch.setitem(VARIANTS, half.name, half)
    model = alexnet_jax.create(half.name, seed=1)
    alexnet_jax.save(model, tmp_path / "says.safetensors")
    arrays = load_file(tmp_path / "says.safetensors")
    assert {"conv1.weight", "conv5.bias", "fc7.weight"} <= arrays.keys()
    save_file(arrays, tmp_path / "silent.safetensors")
    for name in ("says", "silent"):
        loaded = alexnet_jax.load(tmp_path / f"{name}.safetensors")
        assert loaded.variant == half
        np.testing.assert_array_equal(loaded.fc6.kernel, model.fc6.kernel)


def test_extending_recipe_smoke_is_valid(extended, tmp_path):
    (tmp_path / "half.py").write_text(extended[0])
    config = configuration.load(f"{tmp_path}/half.py:smoke")
    assert configuration.validate(config) == []
    assert config.data.source == "synthetic"


def test_extending_backend_words_the_message(extended):
    _, backend = extended
    assert isinstance(backend, Backend)
    assert backend.missing_nodes() in _page(EXTENDING)
    assert backend.missing_nodes()


def test_vendor_page_code_is_a_backend():
    (code,) = blocks(_page("backends").replace("   ```", "```"), "python")
    assert _run("\n".join(line.strip() for line in code.splitlines()), "vendor").BACKEND.hint


def test_the_site_is_built_from_every_page():
    """By the last pattern of its table of contents, which needs no care, and by name outside docs/."""
    index = _page("index")
    assert "\n*\n" in index
    for page in ROOT.glob("*.md"):
        assert re.search(rf"^(?:../{page.stem}|.* <../{page.stem}>)$", index, re.MULTILINE), (
            page.name
        )
    assert "sphinx" not in sys.modules  # the tests need no site generator
