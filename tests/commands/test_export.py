"""Files to deploy give the model's logits at batch 1 and 7, outside this package."""

import errno
import importlib.util
import json
import os
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import alexnet_jax
from alexnet_jax.__main__ import main
from alexnet_jax.model import onnx_graph, stablehlo
from alexnet_jax.model.weights import write

SIZES = {"paper2012": 67, "deepspark": 32, "mindspore_2022": 95}


def _batches(size):
    generator = np.random.default_rng(1)
    return [generator.standard_normal((n, size, size, 3), np.float32) for n in (1, 7)]


def test_what_jax_writes_stablehlo_with_is_installed_without_extras():
    """jax.export imports it when it writes and does not declare it; elsewhere it comes with onnxruntime alone."""
    spec = importlib.util.find_spec("jax._src.export.serialization")
    assert "import flatbuffers" in Path(spec.origin).read_text()
    metadata = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    needed = metadata["project"]["dependencies"]
    assert any(dependency.startswith("flatbuffers") for dependency in needed)


def test_stablehlo_in_a_fresh_process(tmp_path, capsys):
    model = alexnet_jax.create("cifar32", num_classes=7, seed=2)
    alexnet_jax.save(model, tmp_path / "w.safetensors")
    out = tmp_path / "model.stablehlo"
    assert main(["export", "--weights", str(tmp_path / "w.safetensors"), str(out)]) == 0
    told = re.search(
        r"largest difference from the model (\S+), of logits up to (\S+), at batch sizes 1 and 7",
        capsys.readouterr().out,
    )
    assert float(told[1]) <= 1e-4 * float(told[2])
    from jax import export

    loaded = export.deserialize(bytearray(out.read_bytes()))
    assert loaded.platforms == ("cpu", "cuda")
    for images in _batches(32):
        np.testing.assert_allclose(loaded.call(images), model(images), rtol=1e-5, atol=1e-6)
    assert "alexnet_jax" not in stablehlo._CALL


@pytest.mark.parametrize("variant", SIZES)
def test_onnxruntime_gives_the_models_logits(variant, tmp_path):
    pytest.importorskip("onnxruntime")
    size = SIZES[variant]
    model = alexnet_jax.create(variant, num_classes=7, image_size=size, seed=3)
    onnx_graph.write(model, tmp_path / "model.onnx")
    for images, found in zip(
        _batches(size), onnx_graph.run(tmp_path / "model.onnx", _batches(size)), strict=True
    ):
        wanted = np.asarray(model(images))
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


def test_onnx_by_the_command(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    alexnet_jax.save(alexnet_jax.create("cifar32", num_classes=7), tmp_path / "w.safetensors")
    command = ["export", "--weights", str(tmp_path / "w.safetensors")]
    assert main([*command, str(tmp_path / "model.onnx")]) == 0
    assert "largest difference from the model" in capsys.readouterr().out


LOOK = {"resize_pixels": 36, "protocol": "squash", "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}


@pytest.mark.parametrize("suffix", ["stablehlo", "onnx"])
def test_an_exported_run_says_how_it_looks_at_images(tmp_path, capsys, suffix):
    said = {"look": json.dumps(LOOK), "classes": '["ant", "bee"]'}
    write.write(alexnet_jax.create("cifar32", num_classes=2), tmp_path / "w.safetensors", said)
    out = tmp_path / f"model.{suffix}"
    for _ in range(2):  # again over an older one
        assert main(["export", "--weights", str(tmp_path / "w.safetensors"), str(out)]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    if suffix == "stablehlo":
        assert told.endswith(f"its classes: in {tmp_path / 'model.json'}")
        found = json.loads((tmp_path / "model.json").read_text())
    else:
        assert told.endswith("its classes: in its metadata_props")
        onnx = pytest.importorskip("onnx")
        props = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
        found = {"variant": props.pop("variant")}
        found |= {name: json.loads(text) for name, text in props.items()}
    assert found == {
        "variant": "cifar32",
        "look": LOOK | {"image_size": 32},
        "classes": ["ant", "bee"],
    }


def test_what_weights_do_not_say_is_written_as_predict_takes_it(tmp_path):
    alexnet_jax.save(alexnet_jax.create("cifar32", num_classes=2), tmp_path / "w.safetensors")
    out = tmp_path / "model.stablehlo"
    assert main(["export", "--weights", str(tmp_path / "w.safetensors"), str(out)]) == 0
    found = json.loads(out.with_suffix(".json").read_text())
    assert found["classes"] == ["class 0", "class 1"]
    assert found["look"] == {
        "image_size": 32,
        "resize_pixels": 37,
        "protocol": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }


@pytest.mark.parametrize("content", ['{"model": {"variant": "cifar32"}}', "notes"])
def test_another_file_is_not_written_over(tmp_path, capsys, content):
    """For one a run's config.json, by config.stablehlo in its workdir."""
    alexnet_jax.save(alexnet_jax.create("cifar32", num_classes=2), tmp_path / "w.safetensors")
    (tmp_path / "config.json").write_text(content)
    out = tmp_path / "config.stablehlo"
    assert main(["export", "--weights", str(tmp_path / "w.safetensors"), str(out)]) == 2
    assert capsys.readouterr().err == (
        f"{tmp_path / 'config.json'} is to say what the exported file is, and is another file; "
        "name another OUT, or move it.\n"
    )
    assert (tmp_path / "config.json").read_text() == content


def test_stablehlo_multiplies_in_full_float32_everywhere(tmp_path):
    """A GPU may else multiply in TF32, which rounds to a thousandth."""
    stablehlo.write(alexnet_jax.create("cifar32", num_classes=7), tmp_path / "model.stablehlo")
    from jax import export

    text = export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes())).mlir_module()
    operations = ("stablehlo.dot_general", "stablehlo.convolution", "stablehlo.dynamic_conv")
    products = [line for line in text.splitlines() if any(name in line for name in operations)]
    assert products
    assert all("HIGHEST" in line for line in products)


@pytest.mark.parametrize("wrong", [0.5, np.nan])
def test_a_file_that_is_not_the_model_does_not_take_an_older_ones_place(
    tmp_path, capsys, monkeypatch, wrong
):
    """Wrong at batch 7 alone, where Python's max would pass a NaN over."""
    model = alexnet_jax.create("cifar32", num_classes=7, seed=2)
    alexnet_jax.save(model, tmp_path / "w.safetensors")
    out = tmp_path / "model.stablehlo"
    out.write_bytes(b"an older one")

    def run(path, batches):
        one, seven = (np.array(model(images)) for images in batches)
        seven[3, 2] += wrong
        return [one, seven]

    monkeypatch.setattr(stablehlo, "run", run)
    assert main(["export", "--weights", str(tmp_path / "w.safetensors"), str(out)]) == 1
    printed = capsys.readouterr()
    assert f"{out} was not written, as what it would hold is not the model" in printed.err
    assert f"largest difference from the model {wrong:.1e}, of logits up to" in printed.err
    assert printed.out == ""
    assert out.read_bytes() == b"an older one"
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, "w.safetensors"]


def test_a_file_that_does_not_run_is_not_kept(tmp_path, capsys, monkeypatch):
    alexnet_jax.save(alexnet_jax.create("cifar32", num_classes=7), tmp_path / "w.safetensors")
    monkeypatch.setattr(stablehlo, "_CALL", "raise SystemExit('no such operation')")
    out = tmp_path / "model.stablehlo"
    assert main(["export", "--weights", str(tmp_path / "w.safetensors"), str(out)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("model.stablehlo does not run, so it was not kept:\nno such operation")
    assert not out.exists()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("model.pb", "ends in neither .stablehlo nor .onnx; name such a file."),
        ("nowhere/model.onnx", "there is no directory"),
        ("made.onnx", "is a directory; name a file."),
    ],
)
def test_wrong_requests(tmp_path, capsys, out, message):
    (tmp_path / "made.onnx").mkdir()
    assert main(["export", "--weights", "w.safetensors", str(tmp_path / out)]) == 2
    assert message in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_to_is_named(tmp_path, capsys, monkeypatch):
    """The superuser may write to it whatever its mode."""
    alexnet_jax.save(alexnet_jax.create("cifar32", num_classes=7), tmp_path / "w.safetensors")
    out, made = tmp_path / "model.stablehlo", os.mkdir

    def mkdir(path, *arguments, **keywords):
        if os.path.basename(path).startswith(".export-"):
            raise PermissionError(errno.EACCES, "Permission denied")
        made(path, *arguments, **keywords)

    monkeypatch.setattr(os, "mkdir", mkdir)
    assert main(["export", "--weights", str(tmp_path / "w.safetensors"), str(out)]) == 2
    assert capsys.readouterr().err == (
        f"{out} cannot be written (Permission denied); make room or make it writable, or name another place.\n"
    )
