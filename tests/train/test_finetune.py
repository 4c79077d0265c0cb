"""Fine-tuning: a new head on weights of another class count, layers that stay as they are."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import alexnet_jax
from alexnet_jax.config import load, validate
from alexnet_jax.data.sources.base import ArraySource
from alexnet_jax.errors import RequestError
from alexnet_jax.model import functional
from alexnet_jax.train import experiment, loop, parts, trained_run
from tests.train.runs import build, saved_arrays, small_config

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")


def digits(**changes) -> ConfigDict:
    """Returns an epoch of the digits recipe with its convolutions frozen."""
    config = load(str(Path(__file__).parents[2] / "configs" / "digits.py"))
    config.num_epochs = 1
    config.optimizer.freeze = CONVOLUTIONS
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    """A file of weights with seven classes, and these weights."""
    path = tmp_path_factory.mktemp("donor") / "seven.safetensors"
    model = alexnet_jax.create("cifar32", num_classes=7, seed=5)
    alexnet_jax.save(model, path)
    return path, functional.split(model)[1]


def test_only_the_head_changes_bit_for_bit(donor, tmp_path, capsys):
    path, before = donor
    run = build(digits(init_weights=str(path)))
    drawn = np.asarray(run.initial_state.params["fc6"]["kernel"])
    assert run.config.optimizer.weight_decay > 0
    final = loop.train(run, tmp_path)
    assert (
        f"starts from {path}, but for fc6: new, as there are 10 classes and not its 7"
        in capsys.readouterr().out.replace("\n", " ")
    )
    after = saved_arrays(tmp_path, 22)
    for name in CONVOLUTIONS:
        for leaf, array in before[name].items():
            assert after[f"['params']['{name}']['{leaf}']"].tobytes() == np.asarray(array).tobytes()
    assert not np.array_equal(after["['params']['fc6']['kernel']"], drawn)
    momenta = [name for name in after if "trace" in name]
    assert momenta
    assert all("fc6" in name for name in momenta)
    assert loop.train(build(digits(init_weights=str(path))), tmp_path) == final  # continues
    capsys.readouterr()
    with pytest.raises(RequestError) as refused:  # as trained, with --mode eval
        loop.evaluate_only(build(digits(init_weights=str(path))), tmp_path)
    assert str(refused.value).startswith(
        f"leave out init_weights to evaluate the run in {tmp_path}; the weights it names do not fit: {path} is not ci"
    )
    assert loop.evaluate_only(build(digits()), tmp_path) == pytest.approx(final)


def test_nothing_is_computed_backwards_for_frozen_layers():
    """A step costs their pass forward and hardly more; unfrozen, the way back is two thirds of it."""
    operations = []
    for frozen in (CONVOLUTIONS, ()):
        run = build(digits(**{"optimizer.freeze": frozen, "model.layers": "plain"}))
        batch = run.place_batch("train", next(run.train_batches(0)))
        program = run.train_step.lower(run.initial_state, batch).compile()
        operations.append(program.cost_analysis()["flops"])
    assert operations[0] < 0.5 * operations[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer.freeze": ("conv1",)}, "without init_weights they are random; use --config"),
        (
            {"optimizer.freeze": ("fc6",), "init_weights": "donor"},
            "optimizer.freeze names fc6, which is new: there are 10 classes and not the 7 of",
        ),
    ],
)
def test_layers_that_were_never_trained_cannot_be_frozen(donor, tmp_path, changes, message):
    changes = {k: str(donor[0]) if v == "donor" else v for k, v in changes.items()}
    with pytest.raises(RequestError, match=message):
        loop.train(build(small_config(**changes)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_evaluation_wants_the_very_classes(donor, tmp_path):
    with pytest.raises(RequestError, match="is not cifar32"):
        loop.evaluate_only(build(small_config(init_weights=str(donor[0]))), tmp_path)


def test_a_run_is_not_continued_with_classes_of_other_names(tmp_path, capsys):
    def run(*names):
        images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
        source = ArraySource(images, np.arange(4, dtype=np.int32) % 2, names)
        config = small_config(**{"batch_size": 4, "num_epochs": 1, "model.num_classes": 2})
        return experiment.build(config, {"train": source, "eval": source}, jax.devices()[:1])

    final = loop.train(run("china", "flower"), tmp_path)
    noted = tmp_path / "classes.json"
    with pytest.raises(RequestError, match=r"to tell other classes: label 1 was flower and is ant"):
        loop.train(run("china", "ant"), tmp_path)
    assert json.loads(noted.read_text()) == ["china", "flower"]
    capsys.readouterr()
    assert loop.evaluate_only(run("bee", "flower"), tmp_path) == final
    assert "not the classes of" in capsys.readouterr().err
    noted.unlink()
    assert loop.train(run("bee", "ant"), tmp_path) == final
    assert json.loads(noted.read_text()) == ["bee", "ant"]
    noted.write_text("[1]")
    assert loop.evaluate_only(run("china", "flower"), tmp_path) == final
    assert f"{noted} is damaged" in capsys.readouterr().err.replace("\n", "")
    assert loop.train(run("china", "flower"), tmp_path) == final
    assert f"{noted} is damaged" in capsys.readouterr().out.replace("\n", "")
    assert json.loads(noted.read_text()) == ["china", "flower"]


@pytest.mark.parametrize(
    ("variant", "size", "resized"), [("torchvision", 224, 256), ("cifar32", 32, 37)]
)
def test_the_recipe_looks_at_as_much_of_an_image_whatever_the_input(
    variant, size, resized, tmp_path
):
    config = load(str(Path(__file__).parents[2] / "configs" / "finetune.py"))
    config.model.variant = variant
    assert validate(config) == []
    assert parts.eval_resize_pixels(config) == resized
    assert parts.device_transform(config, arrays=True).view.resize_pixels == resized
    (tmp_path / "config.json").write_text(config.to_json())
    image = np.arange(300 * 400 * 3).reshape(300, 400, 3).astype(np.uint8)
    look = trained_run.look(tmp_path, size)
    assert all(isinstance(value, float) for value in (*look["mean"], *look["std"]))
    seen = alexnet_jax.preprocess([image], **look)
    np.testing.assert_array_equal(
        seen, alexnet_jax.preprocess([image], **look | {"resize_pixels": resized})
    )
