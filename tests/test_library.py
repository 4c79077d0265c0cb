"""Models from files and runs, and back to files."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import alexnet_jax
from alexnet_jax.__main__ import main
from alexnet_jax.errors import RequestError
from alexnet_jax.model import functional
from alexnet_jax.train import checkpoint, starting_weights
from alexnet_jax.train import state as train_state
from alexnet_jax.train.checkpoint_writer import Checkpoints

ROOT = Path(alexnet_jax.__file__).parents[1]
CLASSES = 7
MEND = "make room or make it writable, or name another place."


@pytest.fixture(scope="module")
def model():
    return alexnet_jax.create("cifar32", num_classes=CLASSES, image_size=40, seed=3)


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    alexnet_jax.save(model, path)
    return path


@pytest.fixture(scope="module")
def workdir(model, tmp_path_factory):
    """A run whose moving average is what it evaluates."""
    path = tmp_path_factory.mktemp("run")
    _, params, model_state = functional.split(model)
    state = train_state.create(params, model_state, optax.sgd(0.1, 0.9), ema=True)
    identity = checkpoint.Identity("cifar32", CLASSES, 40, {})
    checkpoints = Checkpoints(path, identity, keep=2, keep_best=False)
    for step in (3, 8):
        checkpoints.save(step, state, None)
        double = {"params": jax.tree.map(lambda x: 2 * x, params)}
        state = train_state.TrainState(**{**vars(state), **double})
    checkpoints.close()
    return path


def assert_same(one, other):
    assert one.variant == other.variant
    assert (one.num_classes, one.image_size) == (other.num_classes, other.image_size)
    trees = [functional.split(model)[1:] for model in (one, other)]
    jax.tree.map(np.testing.assert_array_equal, *trees)


def test_a_saved_model_says_what_it_is(model, file):
    assert_same(alexnet_jax.load(file), model)


def test_a_file_of_no_run_says_the_size_of_its_input_alone(file, tmp_path):
    assert alexnet_jax.look(file) == {"image_size": 40}
    with pytest.raises(RequestError, match="there is no such file; name a file of weights or a wo"):
        alexnet_jax.look(tmp_path / "none.pth")


def test_a_run_says_what_it_is(model, workdir):
    assert_same(alexnet_jax.load(workdir / "checkpoints" / "3"), model)
    newest = alexnet_jax.load(workdir)
    np.testing.assert_array_equal(newest.conv1.kernel, 2 * model.conv1.kernel)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda step: step.rename(step.with_name("4")), "no complete checkpoint; name another, or"),
        (lambda step: _flip(max(step.rglob("*"), key=_size)), "is not what was written); name a"),
        (lambda step: max(step.rglob("*"), key=_size).unlink(), "is missing); name another check"),
    ],
)
def test_a_checkpoint_named_by_its_step_is_looked_at_first(workdir, tmp_path, damage, message):
    shutil.copytree(workdir / "checkpoints", tmp_path / "checkpoints")
    step = tmp_path / "checkpoints" / "3"
    damage(step)
    step.mkdir(exist_ok=True)
    with pytest.raises(RequestError, match=re.escape(message)):
        alexnet_jax.load(step)


def _size(path):
    return path.stat().st_size if path.is_file() else 0


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_run_that_evaluates_its_average_is_loaded_with_it(model, workdir):
    (workdir / "config.json").write_text('{"eval": {"use_ema": true}}')
    assert_same(alexnet_jax.load(workdir), model)
    (workdir / "config.json").unlink()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is damaged (Expecting value: line 1 column 1 (char 0)); restore it, or run again."),
        ("[]", "is damaged: it holds no JSON object; restore it, or run again."),
        ('{"eval": {}}', "is damaged: it has no eval.use_ema; restore it, or run again."),
        (
            '{"eval": {"use_ema": null}}',
            "is damaged: eval.use_ema is None, not true or false; restore it, or run again.",
        ),
    ],
)
def test_damaged_settings_of_a_run_are_named(workdir, tmp_path, capsys, content, message):
    (tmp_path / "checkpoints").symlink_to(workdir / "checkpoints")
    (tmp_path / "config.json").write_text(content)
    assert main(["convert", str(tmp_path), str(tmp_path / "model.safetensors")]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'config.json'} {message}\n"


def test_a_run_of_another_model_is_refused(workdir):
    with pytest.raises(RequestError, match="variant is 'cifar32' there, not 'torchvision'; num_cl"):
        alexnet_jax.load(workdir, "torchvision", num_classes=3)
    with pytest.raises(
        RequestError, match="at image_size=224: it differs in params/fc6/kernel; use"
    ):
        alexnet_jax.load(workdir, image_size=224)
    assert alexnet_jax.load(workdir, image_size=48).image_size == 48  # a map of the same size
    with pytest.raises(RequestError, match="holds no checkpoint; name a workdir"):
        alexnet_jax.load(workdir.parent)


def test_weights_of_another_variant_say_which_to_ask_for(workdir, file):
    asked = checkpoint.Identity("torchvision", CLASSES, 224, {})
    words = "holds a cifar32; this run asks for torchvision: add --config.model.variant=cifar32."
    with pytest.raises(RequestError, match=words):
        starting_weights.read(workdir, asked, any_classes=True)
    with pytest.raises(RequestError, match=r"training, --config\.model\.variant=cifar32"):
        starting_weights.read(file, asked, any_classes=True)
    asked = checkpoint.Identity("cifar32", 3, 40, {})
    with pytest.raises(RequestError, match="has 7 classes, and the data have 3; name w"):
        starting_weights.read(workdir, asked)


def test_every_fault_is_listed_at_once(file, tmp_path):
    arrays = load_file(file)
    arrays["features.0.weight"] = arrays["features.0.weight"][:, :2]
    arrays["features.9.weight"] = arrays.pop("features.3.weight")
    arrays["classifier.bias"] = arrays["classifier.bias"].astype(np.int64)
    save_file(arrays, tmp_path / "bad.safetensors")
    with pytest.raises(RequestError) as error:
        alexnet_jax.load(tmp_path / "bad.safetensors", "cifar32", num_classes=CLASSES + 1)
    assert str(error.value).splitlines()[1:] == [
        "  unknown: features.9.weight",
        "  missing: features.3.weight",
        "  features.0.weight is (64, 2, 11, 11), not (64, 3, 11, 11)",
        "  classifier.bias is (7,), not (8,)",
        "  classifier.weight is (7, 256), not (8, 256)",
        "Name a file of this variant.",
    ]


def test_another_variant_is_named(file):
    with pytest.raises(
        RequestError, match="is not torchvision:\n(.*\n)*It fits cifar32; name that"
    ):
        alexnet_jax.load(file, "torchvision")
    with pytest.raises(RequestError, match="is not cifar32:\n(.*\n)*It has 7 classes"):
        alexnet_jax.load(file, "cifar32", num_classes=CLASSES + 1)


def test_a_file_that_says_nothing_is_what_it_fits(model, file, tmp_path):
    save_file(load_file(file), tmp_path / "anonymous.safetensors")
    assert alexnet_jax.load(tmp_path / "anonymous.safetensors").variant is model.variant
    save_file({"weight": np.zeros(3)}, tmp_path / "none.safetensors")
    with pytest.raises(RequestError, match="its arrays fit none; name one of: torchvision, paper"):
        alexnet_jax.load(tmp_path / "none.safetensors")


def test_what_a_file_says_of_itself_is_not_trusted(file, tmp_path):
    """Names that would write to a terminal, an image size and a number of classes beyond reason, other kinds."""
    arrays = load_file(file)
    arrays["\x1b[2J"] = np.zeros(3, np.float32)
    arrays["classifier.weight"] = np.zeros((1 << 60, 0), np.float32)
    metadata = {"variant": "cifar32", "image_size": "9" * 30}
    save_file(arrays, tmp_path / "bad.safetensors", metadata=metadata)
    with pytest.raises(RequestError) as error:
        alexnet_jax.load(tmp_path / "bad.safetensors")
    assert str(error.value).splitlines()[1:3] == [
        r"  unknown: '\x1b[2J'",
        "  classifier.bias is (7,), not (10,)",
    ]
    save_file(arrays, tmp_path / "bad.safetensors", metadata={"variant": "nonsense"})
    with pytest.raises(RequestError, match="unknown variant 'nonsense'; the variants are: "):
        alexnet_jax.load(tmp_path / "bad.safetensors")


def test_a_file_has_the_mode_that_others_have(file):
    (file.parent / "other").touch()
    assert file.stat().st_mode == (file.parent / "other").stat().st_mode


def test_save_refuses_other_formats(model, tmp_path):
    with pytest.raises(RequestError, match=r"written to \.safetensors files only"):
        alexnet_jax.save(model, tmp_path / "model.pth")
    with pytest.raises(RequestError, match="is no directory; make it first"):
        alexnet_jax.save(model, tmp_path / "none" / "model.safetensors")
    for nameless in ("", ".", "/"):
        with pytest.raises(RequestError, match=r"use e\.g\. alexnet\.safetensors"):
            alexnet_jax.save(model, nameless)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "made.safetensors").mkdir()
    with pytest.raises(RequestError, match=r"made\.safetensors is a directory; name a file"):
        alexnet_jax.save(model, tmp_path / "made.safetensors")


@pytest.mark.parametrize("error", [OSError, SafetensorError])
def test_a_failed_save_leaves_the_old_file(model, tmp_path, monkeypatch, error):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")

    def fail(arrays, temporary, metadata):
        Path(temporary).write_bytes(b"half")
        raise error("no space left on device")

    monkeypatch.setattr("alexnet_jax.model.weights.safetensors_file.save_file", fail)
    with pytest.raises(RequestError) as raised:
        alexnet_jax.save(model, path)
    assert str(raised.value) == f"{path} cannot be written (no space left on device); {MEND}"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_is_too_long_to_write_to_is_refused(model, tmp_path):
    path = tmp_path / f"{'a' * 243}.safetensors"  # itself of 255 bytes, which is the limit
    with pytest.raises(RequestError) as raised:
        alexnet_jax.save(model, path)
    assert str(raised.value) == f"{path} cannot be written (File name too long); {MEND}"
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_the_way_of_a_save_stays(model, tmp_path):
    (tmp_path / "model.safetensors.tmp").mkdir()
    with pytest.raises(RequestError, match=r"cannot be written \(.*Is a directory.*\); make room"):
        alexnet_jax.save(model, tmp_path / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors.tmp"]


def test_a_file_that_may_not_be_read_is_named(file, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # the superuser may read whatever its mode
    with pytest.raises(RequestError) as raised:
        alexnet_jax.load(file)
    advice = "make it readable, or name another."
    assert str(raised.value) == f"{file} cannot be read (Permission denied); {advice}"


def test_convert(model, workdir, tmp_path, capsys):
    source, destination = str(workdir / "checkpoints" / "3"), tmp_path / "model.safetensors"
    assert main(["convert", source, str(destination), "--variant", "cifar32"]) == 0
    assert capsys.readouterr().out.startswith("cifar32, 7 classes, 2,471,495 parameters: ")
    assert_same(alexnet_jax.load(destination), model)
    assert main(["convert", str(destination), source, "--num-classes", "8"]) == 2
    assert "classifier.bias is (7,), not (8,)" in capsys.readouterr().err


def test_convert_needs_no_device_but_the_cpu(file, tmp_path):
    out = tmp_path / "again.safetensors"
    run = subprocess.run(
        [sys.executable, "-m", "alexnet_jax", "convert", str(file), str(out)],
        env=os.environ | {"JAX_PLATFORMS": "cuda", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert out.exists()
