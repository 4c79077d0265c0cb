"""Runs that start from a file, or evaluate one."""

import numpy as np
import pytest

import alexnet_jax
from alexnet_jax.__main__ import main
from alexnet_jax.errors import RequestError
from alexnet_jax.train import loop
from tests.train.runs import build, saved_arrays, small_config


@pytest.fixture(scope="module")
def model():
    return alexnet_jax.create("cifar32", num_classes=10, image_size=32, seed=5)


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    alexnet_jax.save(model, path)
    return str(path)


def test_a_run_starts_from_a_file_and_evaluates_one(model, file, tmp_path, capsys):
    changes = {
        "num_epochs": 1,
        "data.synthetic_examples": 16,
        "optimizer.learning_rate": 0.0,
        "optimizer.ema_decay": 0.9,
    }
    config = small_config(init_weights=file, **changes)
    trained = loop.train(build(config), tmp_path)
    arrays = saved_arrays(tmp_path, 2)
    for tree in ("params", "ema_params"):  # the average begins there too
        kernel = arrays[f"['{tree}']['conv2']['kernel']"]
        np.testing.assert_allclose(kernel, model.conv2.kernel, rtol=0, atol=1e-7)

    assert loop.evaluate_only(build(config), tmp_path / "none") == pytest.approx(trained)
    assert capsys.readouterr().out.splitlines()[-1].startswith("eval step=0 loss=")

    config.init_weights = "other.safetensors"
    loop.train(build(config), tmp_path)
    printed = capsys.readouterr().out.replace("\n", " ")
    assert "these weights are not read, another --workdir starts from them" in printed


def test_weights_that_saw_images_normalised_otherwise_are_told_of(tmp_path, capsys):
    first = small_config(**{"data.mean": (0.3, 0.3, 0.3)})
    loop.train(build(first), tmp_path / "first")
    for mean, told in (((0.5, 0.4, 0.3), True), ((0.3, 0.3, 0.3), False)):
        capsys.readouterr()
        changes = {"init_weights": str(tmp_path / "first"), "data.mean": mean}
        loop.train(build(small_config(**changes)), tmp_path / f"next-{told}")
        printed = capsys.readouterr().out.replace("\n", " ")
        text = (
            "was trained with data.mean=(0.3, 0.3, 0.3), this run takes (0.5, 0.4, 0.3); theirs: "
            '--config.data.mean="(0.3, 0.3, 0.3)"'
        )
        assert (text in printed) == told
    (tmp_path / "first" / "config.json").write_text("{")
    loop.train(build(small_config(**changes)), tmp_path / "damaged")
    assert "how its images were normalised is not known" in capsys.readouterr().out.replace(
        "\n", " "
    )


def test_an_evaluation_of_a_file_that_saw_images_normalised_otherwise_says_so(tmp_path, capsys):
    loop.train(build(small_config(**{"data.mean": (0.3, 0.3, 0.3)})), tmp_path / "run")
    file = tmp_path / "run.safetensors"
    assert main(["convert", str(tmp_path / "run"), str(file)]) == 0
    for mean, lines in (((0.5, 0.4, 0.3), 1), ((0.3, 0.3, 0.3), 0)):
        capsys.readouterr()
        changes = {"init_weights": str(file), "data.mean": mean}
        loop.evaluate_only(build(small_config(**changes)), tmp_path / "none")
        told = capsys.readouterr().err.splitlines()
        assert len(told) == lines
        assert all(f"{file} was trained with data.mean=(0.3, 0.3, 0.3), this" in s for s in told)


def test_a_file_of_another_model_is_refused_and_nothing_is_written(file, tmp_path):
    config = small_config(**{"init_weights": file, "data.image_size": 64})  # a map of 2 x 2
    with pytest.raises(RequestError, match=r"classifier.weight is \(10, 256\), not \(10, 1024\)"):
        loop.train(build(config), tmp_path / "run")
    with pytest.raises(
        RequestError, match="there is no such file; name a file of weights or a wor"
    ):
        loop.evaluate_only(build(small_config(init_weights="missing.pth")), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
