"""What a run says before its first step, in words that fit the numbers."""

import jax
import numpy as np
import pytest

from alexnet_jax.train import opening, run_card
from tests.train.runs import build, small_config


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([16, 16, 16], "16 of each class"),
        ([139, 146, 140], "139 to 146 of a class"),
        ([0, 1, 0], "up to 1 of a class, none of 2 classes"),
    ],
)
def test_how_many_examples_classes_have(counts, text):
    assert opening._spread(np.array(counts)) == text


def test_one_is_no_plural(tmp_path):
    lines = opening.opening(build(small_config(num_epochs=1)), tmp_path, "", 0, [])
    (strategy,) = (line for line in lines if line.startswith("strategy "))
    assert strategy.split(";")[0] == "strategy  jit, batch 8, 12 steps in 1 epoch"


def test_a_cpu_is_named_once():
    assert run_card.device_name(jax.devices("cpu")[0]) == "cpu"
