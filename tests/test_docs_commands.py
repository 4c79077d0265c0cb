"""Every command in the documents is one that its program takes, and is run by a test or needs data or a device."""

import argparse
import importlib
import os
import pkgutil
import re
import shutil
import tomllib

import pytest
from ml_collections import ConfigDict

from alexnet_jax import __main__ as door
from alexnet_jax import commands, main
from alexnet_jax import config as configuration
from alexnet_jax.commands import benchmark
from alexnet_jax.config.keys import all_keys
from tests.documents import PAGES, ROOT, blocks
from tests.documents import commands as commands_in

# What a command needs from the reader: a capital word to fill in, a file of weights or images, data, a device.
PLACEHOLDER = re.compile(
    r"(?<![\w-])[A-Z][A-Z-]*(?![\w-])|/data/|\w\.(?:so|pth|ckpt|safetensors|jpe?g|png|onnx|stablehlo)\b"
    r"|half\.py|backend=|--backend |gpu_report"
)
SAMPLES = {"N": "2", "B": "64", "X": "0.5", "K": "5", "P": "jit"}
NAMES = ("COMMAND", "KEY")

# Where other commands are run, and the words to find there.
RUN_BY = {
    "python -m alexnet_jax.main --config configs/digits.py": (
        "tests/train/test_digits.py",
        "digits.py",
    ),
    "python -m alexnet_jax --help": ("tests/commands/test_summary.py", '["--help"]'),
    "bash scripts/faults.sh": ("scripts/faults.sh", "tests/faults"),  # is itself tests, longer ones
    "bash .ci/run": ("CONTRIBUTING.md", "bash .ci/run"),
    "pip install": (".ci/run", "make_environment"),
    "source": ("tests/test_docs_commands.py", "is_file()"),  # sets variables only
    "python docs/draw_recipes.py": ("tests/test_scripts.py", ".svg"),
    "python benchmarks": ("benchmarks.md", ".py"),  # timings: nothing passes or fails
}

COMMANDS = sorted({" ".join(words) for page in PAGES for words in commands_in(page.read_text())})


class _Parsed(Exception):
    """Carries what a command understood, in the place of carrying it out."""


@pytest.fixture
def only_parse(monkeypatch):
    parse = argparse.ArgumentParser.parse_args

    def stop(self, arguments=None, namespace=None):
        raise _Parsed(parse(self, arguments, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)


def _train(words: list[str]) -> None:
    others, assignments = main._split_overrides(["main", *words])
    options = main._parse(others)
    if PLACEHOLDER.fullmatch(options.config):
        config = configuration.default_config()
    else:
        config = configuration.load(str(ROOT / options.config))
    known = [(key, SAMPLES.get(value, value)) for key, value in assignments if key not in NAMES]
    assert configuration.override(config, known) == []
    assert configuration.validate(config) == []


def _command(words: list[str]) -> None:
    if words and words[0] in ("COMMAND", "--help"):
        return
    if words[1:] in ([], ["step"], ["input"], ["all"]):  # spoken of, not shown
        assert importlib.util.find_spec(f"{commands.__name__}.{words[0]}")
        return
    with pytest.raises(_Parsed):
        door.main([SAMPLES.get(word, word) for word in words])


def _script(words: list[str]) -> None:
    assert (ROOT / words[0]).is_file(), words[0]
    for word in words[1:]:
        if word.startswith("configs/"):
            configuration.load(str(ROOT / word))
    if "train_local" in words[0] or "slurm" in words[0]:
        rest = words[words.index("--config") :] if "--config" in words else []
        _train(rest if len(rest) > 1 else ["--config", "FILE"])


def _pip(words: list[str]) -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for word in words:
        package, _, extra = word.partition("@")
        assert package in ("-e", "--no-deps", ".", "alexnet-jax") or extra == ""
        assert not extra or extra in metadata["optional-dependencies"], extra


def _check(text: str) -> None:
    words = text.split(" ")
    while "=" in words[0]:
        words = words[1:]
    match words:
        case ["python", "-m", "alexnet_jax.main", *rest]:
            _train(rest)
        case ["python", "-m", "alexnet_jax", *rest] | ["alexnet-jax", *rest]:
            _command(rest)
        case ["python" | "source", path, *_]:
            assert (ROOT / path).is_file(), path
        case ["bash", *rest]:
            _script(rest)
        case ["sbatch", *rest]:
            _script([word for word in rest if not word.startswith("--nodes")])
        case ["pip", "install", *rest]:
            _pip(rest)
        case _:
            pytest.fail(f"a command of no program that we know: {text}")


@pytest.mark.parametrize("text", COMMANDS)
def test_command_is_taken(text, only_parse, monkeypatch):
    monkeypatch.chdir(ROOT)
    _check(text)


def test_commands_are_found():
    """The tests above are nothing without commands to test."""
    assert len(COMMANDS) > 50
    for page in [ROOT / "README.zh.md", *ROOT.glob("docs/zh/[!i]*.md")]:
        assert commands_in(page.read_text()), page
    with pytest.raises(AssertionError):
        _train(["--config", "configs/digits.py", "--config.optimizer.momentun=0.9"])
    with pytest.raises(SystemExit):
        _check("python -m alexnet_jax summary --variants torchvision")


@pytest.mark.parametrize("text", COMMANDS)
def test_command_is_run_or_needs_something(text):
    if PLACEHOLDER.search(text) or text in QUICKSTART or " summary " in text:
        return
    assert _is_run(text), f"run {text!r} in a test, or name what it needs (see PLACEHOLDER)"


def _is_run(text: str) -> bool:
    """Tells whether a test, or .ci/run, runs this command, its kind of command or its script."""
    if ":smoke" in text:
        return ":smoke" in (ROOT / "tests" / "test_recipes.py").read_text()
    if kind := re.match(r"(?:python -m alexnet_jax|alexnet-jax) ([a-z]+)", text):
        return any(f'"{kind[1]}"' in file.read_text() for file in ROOT.glob("tests/**/test_*.py"))
    if script := re.match(r"(?:\w+=\S+ )*bash scripts/(\w+\.sh)", text):
        files = [ROOT / ".ci" / "run", *ROOT.glob("tests/**/test_*.py")]
        if any(script[1] in file.read_text() for file in files):
            return True
    found = next((by for known, by in RUN_BY.items() if text.startswith(known)), None)
    return found is not None and found[1] in (ROOT / found[0]).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_exist_and_take_their_values(page):
    text = page.read_text()
    config = configuration.default_config()
    assigned = re.findall(r"--config\.([\w.]+)=([^\s`|,]+)", text)
    known = [
        (key, re.sub(r"^[A-Z]$", "2", value))
        for key, value in assigned
        if key not in NAMES and "NAME" not in key
    ]
    assert configuration.override(config, known) == []
    groups = "|".join(name for name, value in config.items() if isinstance(value, ConfigDict))
    named = re.findall(rf"`((?:{groups})\.\w+)(?![\w(.])", text)
    files = {name for name in named if name.endswith((".py", ".npz"))}
    assert set(named) - files <= set(all_keys(config))


def _quickstart() -> list[str]:
    text = (ROOT / "docs" / "quickstart.md").read_text()
    (block,) = [block for block in blocks(text, "bash") if "runs/short" in block]
    return block.splitlines()


QUICKSTART = _quickstart()


def test_quick_start_runs(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    last = []
    for command in QUICKSTART:
        assert main.main(["main", *command.split()[3:]]) == 0
        last.append(capsys.readouterr().out.splitlines()[-1])
    assert last[0] == last[1]  # the second one evaluates what the first one wrote
    assert re.fullmatch(r"eval step=44 loss=\S+ top1=0\.\d+ top5=\S+ n=360", last[0])
    assert os.listdir(tmp_path / "runs") == ["short"]


@pytest.mark.parametrize("text", [text for text in COMMANDS if " summary " in text])
def test_summary_runs(text, capsys):
    if not PLACEHOLDER.search(text) and "half" not in text:
        assert door.main(text.split()[3:]) == 0


HELPS = [module.name for module in pkgutil.iter_modules(commands.__path__)]
HELPS += [f"benchmark {kind}" for kind in benchmark.KINDS]


@pytest.mark.parametrize("name", HELPS)
def test_help_has_an_example_that_parses(name, capsys, monkeypatch, request):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        door.main([*name.split(), "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out.replace("\\\n", " ")
    assert re.search(r"^examples?:", text, re.MULTILINE)
    examples = re.findall(rf"python -m alexnet_jax {name} .*", text.split("example", 1)[1])
    assert examples
    request.getfixturevalue("only_parse")
    for example in examples:
        _check(" ".join(example.split()))


def test_help_of_the_door_and_of_training_have_an_example(capsys):
    assert door.main(["--help"]) == 0
    assert main.main(["main", "--help"]) == 0
    examples = re.findall(
        r"python -m alexnet_jax\.main --config configs.*", capsys.readouterr().out
    )
    assert len(examples) >= 2
    for example in examples:
        _check(example)
