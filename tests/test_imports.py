"""Imports point one way, and importing the package is silent and light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import alexnet_jax

ROOT = Path(alexnet_jax.__file__).parent
HEAVY = (
    "absl",
    "grain",
    "tensorflow",
    "tensorflow_datasets",
    "orbax",
    "matplotlib",
    "ml_collections",
)

# Room -> the rooms it may import besides itself; "" is what lies at the top: config and main.
GROUND = {"errors", "randomness"}
ALLOWED = {
    "model": GROUND,
    "data": {"errors"},
    "backend": {"errors"},
    "train": GROUND | {"model", "data", "backend"},
    "library": GROUND | {"model", "data", "backend", "train"},
    "report": GROUND | {"data", "train", "config"},
    "commands": GROUND
    | {"model", "data", "backend", "train", "config", "library", "report", "options"},
    "plots": GROUND | {"model", "data"},
    "options": {"errors"},
    "errors": set(),
    "randomness": set(),
}


def _imports(file: Path) -> set[str]:
    """Returns the full names of everything a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _room(name: str) -> str:
    return name.removeprefix("alexnet_jax").lstrip(".").partition(".")[0]


def _files(room: str) -> list[Path]:
    module = ROOT / f"{room}.py"
    return [module] if module.exists() else sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_downwards_only(room):
    files = _files(room)
    assert files
    for file in files:
        own = {name for name in _imports(file) if name.startswith("alexnet_jax.")}
        rooms = {_room(name) for name in own} - {room, "__version__"}
        assert rooms <= ALLOWED[room], f"{file} imports {sorted(rooms - ALLOWED[room])}"


def test_every_room_has_a_rule():
    found = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    doors = {"__init__", "__main__", "main", "config", "__pycache__"}
    assert found - doors == set(ALLOWED)


def test_data_never_imports_jax():
    for file in _files("data"):
        assert not {name for name in _imports(file) if name.split(".")[0] in ("jax", "flax")}, file


def test_config_stays_out_of_the_rooms():
    """ConfigDict stops at the wiring; below it, plain typed arguments."""
    allowed = {ROOT / "train" / "experiment.py", ROOT / "train" / "parts.py"}
    for room in ("model", "data", "backend", "train"):
        for file in set(_files(room)) - allowed:
            assert not {
                n for n in _imports(file) if n.split(".")[0] in ("ml_collections", "absl")
            }, file


def _modules_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    *printed, last = run.stdout.splitlines()
    assert printed == []
    return {name.split(".")[0] for name in last.split()}


def test_every_module_can_be_the_first_one_imported():
    """A circle of imports shows only from where it is entered, and each command enters elsewhere."""
    _modules_after(
        "import importlib, pkgutil, alexnet_jax\n"
        "paths = pkgutil.walk_packages(alexnet_jax.__path__, 'alexnet_jax.')\n"
        "for name in [path.name for path in paths if path.name != 'alexnet_jax.__main__']:\n"
        "    for loaded in [name for name in sys.modules if name.startswith('alexnet_jax')]:\n"
        "        del sys.modules[loaded]\n"
        "    importlib.import_module(name)\n"
    )


def test_the_digits_are_read_without_scikit_learn_s_import():
    """It takes longer than all else before a first step whose programs are compiled already."""
    loaded = _modules_after(
        "from alexnet_jax.data.sources import digits\ndigits.open_split(None, 'train')"
    )
    assert loaded.isdisjoint({"sklearn", "scipy"})


def test_import_is_light():
    assert _modules_after("import alexnet_jax").isdisjoint(HEAVY)


def test_model_needs_only_what_flax_needs():
    flax_alone = _modules_after("import flax.nnx")
    used = _modules_after(
        "import jax, alexnet_jax\n"
        "alexnet_jax.create('cifar32')(jax.numpy.zeros((1, 32, 32, 3)))\n"
        "from alexnet_jax.model import summary, functional\n"
        "summary.summarize('cifar32')"
    )
    assert used.intersection(HEAVY) <= flax_alone
    assert used.isdisjoint(
        {"grain", "tensorflow", "tensorflow_datasets", "orbax", "ml_collections"}
    )


def test_preprocess_needs_no_trainer():
    used = _modules_after("import alexnet_jax\nalexnet_jax.preprocess([])")
    assert used.isdisjoint({*HEAVY, "jax", "flax"})


def test_training_leaves_pytorch_alone(tmp_path):
    """tensorboardX would import it wherever it is installed."""
    (tmp_path / "torch.py").write_text("raise SystemExit('imported')")
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    assert "torch" not in _modules_after(f"{path}import alexnet_jax.main")


def test_import_starts_no_device_and_changes_no_setting():
    code = (
        "import jax\n"
        "before = dict(jax.config.values)\n"
        "import alexnet_jax.main, alexnet_jax.config\n"
        "from absl import flags\n"
        "assert 'config' not in flags.FLAGS\n"
        "assert dict(jax.config.values) == before\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized()"
    )
    _modules_after(code)


def test_public_names_resolve():
    for name in alexnet_jax.__all__:
        assert getattr(alexnet_jax, name) is not None
        assert name in dir(alexnet_jax)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        alexnet_jax.nonsense  # noqa: B018
