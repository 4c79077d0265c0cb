"""The doctor's list against the programs that training really runs."""

import functools
import re

import jax
import numpy as np
import pytest

from alexnet_jax.backend.operations import OPERATIONS, difference
from alexnet_jax.model.variants import VARIANTS
from tests.train.runs import build, small_config


def _operations_in(program: str) -> set[str]:
    # Data movement that every program has; without a kernel for it nothing would run at all.
    plain = {"return", "constant", "mesh"}
    return set(re.findall(r"(?:stablehlo|chlo)\.(\w+)", program)) - plain


@functools.cache
def _tried() -> set[str]:
    programs = (jax.jit(o.function).lower(*o.arguments()).as_text() for o in OPERATIONS)
    return set().union(*map(_operations_in, programs))


@pytest.mark.parametrize("variant", ["torchvision", "paper2012", "deepspark", "cifar32"])
def test_every_operation_of_a_training_step_is_tried(variant):
    """These four have every kind of layer; the others are the same with other widths."""
    changes = {
        "model.variant": variant,
        "data.image_size": VARIANTS[variant].smallest_image_size() + 8,
        "optimizer.label_smoothing": 0.1,
    }
    run = build(small_config(**changes))
    size = run.config.data.image_size
    batch = {
        "image": np.zeros((8, size, size, 3), np.uint8),
        "label": np.zeros(8, np.int32),
        "row": np.arange(8, dtype=np.int32),
        "mask": np.ones(8, bool),
    }
    for step in (run.train_step, run.eval_step):
        program = step.lower(run.initial_state, run.strategy.place_batch(batch)).as_text()
        assert _operations_in(program) - _tried() == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"augment.crop": "random_resized"},
        {"augment.crop": "random", "augment.crop_resize_pixels": 40},
        {"augment.pca_noise": 0.1},
        {"augment.mixup_alpha": 0.2},
        {"augment.cutmix_alpha": 1.0},
        {"optimizer.clip_norm": 1.0, "optimizer.accumulate_steps": 2, "optimizer.ema_decay": 0.9},
        {"schedule.name": "plateau", "model.precision": "float16"},
        {"eval.protocol": "ten_crop"},
        {"eval.protocol": "center", "eval.resize_pixels": 40, "schedule.name": "step"},
        {"data.resident": "true", "steps_per_dispatch": 4},
    ],
    ids=str,
)
def test_what_a_setting_adds_is_tried(changes):
    run = build(small_config(**changes))
    train = run.place_batch("train", next(run.train_batches(0)))
    for step, batch in [(run.train_step, train), (run.eval_step, next(run.eval_batches()))]:
        program = step.lower(run.initial_state, batch).as_text()
        assert _operations_in(program) - _tried() == set()


def test_names_are_different():
    names = [operation.name for operation in OPERATIONS]
    assert len(names) == len(set(names))


def test_difference():
    one = {"a": np.array([1.0, -4.0]), "b": np.array([0])}
    assert difference(one, one) == 0
    assert difference({"a": np.array([1.0, -3.0]), "b": np.array([0])}, one) == 0.25
    assert difference({"a": np.array([1.0, np.nan]), "b": np.array([0])}, one) == np.inf
