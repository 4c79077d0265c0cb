"""The examples, and the README's twelve lines, run on photographs and small networks."""

import ast
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import alexnet_jax
from alexnet_jax.model import stablehlo
from tests.data import photos
from tests.documents import blocks

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model():
    return alexnet_jax.create("cifar32", num_classes=7)


@pytest.fixture
def here(model, tmp_path, monkeypatch):
    """A directory with weights, photos/, and photo.jpg, which is the fourth of them again."""
    alexnet_jax.save(model, tmp_path / "w.safetensors")
    (tmp_path / "photos").mkdir()
    for number in range(7):
        photos.photo(number, 60, 50).save(tmp_path / "photos" / f"{number}.png")
    photos.photo(3, 60, 50).save(tmp_path / "photo.jpg", "PNG")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    return runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")


def test_the_readmes_twelve_lines(here, capsys):
    (block,) = [b for b in blocks((ROOT / "README.md").read_text(), "bash") if "relu7" in b]
    lines = block.splitlines()
    assert len(lines) == 12
    alexnet_jax.save(alexnet_jax.create("torchvision", num_classes=2), here / "t.safetensors")
    exec("\n".join(lines[2:-1]).replace("alexnet.pth", "t.safetensors"), {})
    found = capsys.readouterr().out.splitlines()
    assert len(found) == 5
    name, distance = found[0].split()
    assert name == "photos/3.png"
    assert float(distance) == pytest.approx(0, abs=1e-4)


def test_neighbours(here, monkeypatch, capsys):
    run(monkeypatch, "neighbours.py", "w.safetensors", "photos", "photo.jpg")
    out = capsys.readouterr().out.splitlines()
    assert "'flatten': (8, 256)" in out[0]
    assert out[1] == "photos/3.png"
    assert len(out) == 6


def test_fine_tune_a_folder(here, monkeypatch, capsys):
    for number in range(7):
        own = here / "classes" / ("one" if number % 2 else "other")
        own.mkdir(parents=True, exist_ok=True)
        (here / "photos" / f"{number}.png").rename(own / f"{number}.png")
    settings = {"model.variant": "cifar32", "model.precision": "float32", "num_epochs": 1}
    settings |= {"batch_size": 4, "eval.resize_pixels": 36}
    changed = [f"--config.{key}={value}" for key, value in settings.items()]
    run(monkeypatch, "finetune_folder.py", "w.safetensors", "classes", *changed)
    out = capsys.readouterr().out
    assert "but for fc6: new, as there are 2 classes and not its 7" in out.replace("\n", " ")
    labelled = [line for line in out.splitlines() if line.startswith("classes/")]
    assert len(labelled) == 7
    assert all(" one" in line and " other" in line for line in labelled)


def _deploy(directory, monkeypatch):
    """Runs the example once and returns what it defines."""
    stablehlo.write(alexnet_jax.create("cifar32", num_classes=2), directory / "d.stablehlo")
    (directory / "d.png").write_bytes(photos.encode(photos.photo(0), "PNG"))
    return run(monkeypatch, "deploy.py", directory / "d.stablehlo", directory / "d.png")


def test_deploy(here, model, monkeypatch, capsys):
    stablehlo.write(model, here / "m.stablehlo")
    run(monkeypatch, "deploy.py", "m.stablehlo", "photo.jpg", "photos/0.png")
    images = alexnet_jax.preprocess(["photo.jpg", "photos/0.png"], image_size=32)
    best = np.asarray(model(images)).argmax(axis=1)
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[1]) for line in lines] == best.tolist()


def test_deploy_needs_no_more_than_is_said():
    tree = ast.parse((ROOT / "examples" / "deploy.py").read_text())
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    assert set(names) - sys.stdlib_module_names == {"jax", "numpy", "PIL"}
    needed = "with `jax`, `flatbuffers`, NumPy and\nPillow, without this package"
    assert needed in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("size", [32, 224])
def test_deploy_reads_an_image_as_preprocess_does(tmp_path, monkeypatch, size):
    """Bit for bit, also where a large JPEG is decoded at a fraction of its size."""
    read = _deploy(tmp_path, monkeypatch)["read"]
    kinds = photos.odd_images()
    del kinds["trailing_bytes"]  # decoded at its full size
    kinds |= {"large": photos.jpeg(0, 1203, 1801), "small": photos.jpeg(1, 40, 30)}
    kinds["large_cmyk"] = photos.encode(photos.photo(2, 1601, 1300).convert("CMYK"))
    kinds["large_grey"] = photos.encode(photos.photo(3, 1301, 1600).convert("L"))
    for kind, encoded in kinds.items():
        (tmp_path / kind).write_bytes(encoded)
        (wanted,) = alexnet_jax.preprocess([tmp_path / kind], image_size=size)
        np.testing.assert_array_equal(read(str(tmp_path / kind), size), wanted, kind)


@pytest.mark.parametrize("name", ["deploy.py", "finetune_folder.py", "neighbours.py"])
def test_usage(monkeypatch, capsys, name):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, name, "--help")
    assert ended.value.code == 0
    assert f"usage: {name}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, name)
    assert ended.value.code == 2
    assert "the following arguments are required" in capsys.readouterr().err
