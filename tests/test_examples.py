"""The examples, and the README's twelve lines, run on photographs and small networks."""

import ast
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import alexnet_jax
from alexnet_jax.__main__ import main
from alexnet_jax.model.weights import write
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
    changed.append("--workdir=other")
    run(monkeypatch, "finetune_folder.py", "w.safetensors", "classes", *changed)
    assert (here / "other" / "run.json").is_file()
    assert not (here / "runs").exists()
    out = capsys.readouterr().out
    assert "but for fc6: new, as there are 2 classes and not its 7" in out.replace("\n", " ")
    labelled = [line for line in out.splitlines() if line.startswith("classes/")]
    assert len(labelled) == 7
    assert all(" one" in line and " other" in line for line in labelled)


@pytest.mark.parametrize(
    "look",
    [
        {},
        {"resize_pixels": 40, "protocol": "squash", "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 1)},
    ],
    ids=["usual", "of a run"],
)
def test_deploy_labels_as_predict_does(here, model, monkeypatch, capsys, look):
    said = {"look": json.dumps(look), "classes": json.dumps([*"abcdefg"])} if look else {}
    write.write(model, here / "r.safetensors", said)
    assert main(["export", "--weights", "r.safetensors", "m.stablehlo"]) == 0
    predict = ["predict", "--json", "--top", "1", "--weights", "r.safetensors"]
    assert main([*predict, "photo.jpg", "photos/0.png"]) == 0
    wanted = [json.loads(line) for line in capsys.readouterr().out.splitlines()[-2:]]
    run(monkeypatch, "deploy.py", "m.stablehlo", "photo.jpg", "photos/0.png")
    for line, image in zip(capsys.readouterr().out.splitlines(), wanted, strict=True):
        name, probability, label = line.split(maxsplit=2)
        (best,) = image["predictions"]
        assert (name, label) == (image["image"], best["label"])
        assert float(probability) == pytest.approx(best["probability"], abs=1e-3)


def test_deploy_says_what_it_cannot_read(here, monkeypatch):
    assert main(["export", "--weights", "w.safetensors", "m.stablehlo"]) == 0
    (here / "text.jpg").write_text("no image")
    for arguments, text in (
        (["none.stablehlo", "photo.jpg"], "No such file or directory: 'none.stablehlo'"),
        (["m.stablehlo", "text.jpg"], "cannot identify image file 'text.jpg'"),
    ):
        with pytest.raises(SystemExit, match=text):
            run(monkeypatch, "deploy.py", *arguments)


def test_deploy_needs_no_more_than_is_said():
    tree = ast.parse((ROOT / "examples" / "deploy.py").read_text())
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    assert set(names) - sys.stdlib_module_names == {"jax", "numpy", "PIL"}
    needed = "with `jax`, `flatbuffers`, NumPy and\nPillow, without this package"
    assert needed in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("protocol", ["center", "squash"])
@pytest.mark.parametrize("size", [32, 224])
def test_deploy_reads_an_image_as_preprocess_does(here, monkeypatch, size, protocol):
    """Bit for bit, also where a large JPEG is decoded at a fraction of its size."""
    assert main(["export", "--weights", "w.safetensors", "m.stablehlo"]) == 0
    read = run(monkeypatch, "deploy.py", "m.stablehlo", "photo.jpg")["read"]
    look = {"image_size": size, "resize_pixels": size + 5, "protocol": protocol}
    look |= {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    kinds = photos.odd_images()
    del kinds["trailing_bytes"]  # decoded at its full size
    kinds |= {"large": photos.jpeg(0, 1203, 1801), "small": photos.jpeg(1, 40, 30)}
    kinds["large_cmyk"] = photos.encode(photos.photo(2, 1601, 1300).convert("CMYK"))
    kinds["large_grey"] = photos.encode(photos.photo(3, 1301, 1600).convert("L"))
    for kind, encoded in kinds.items():
        (here / kind).write_bytes(encoded)
        (wanted,) = alexnet_jax.preprocess([here / kind], **look)
        np.testing.assert_array_equal(read(kind, look), wanted, kind)


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
