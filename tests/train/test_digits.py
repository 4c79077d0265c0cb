"""The quick start's promise: real images, 0.98 top-1, in every precision."""

from pathlib import Path

import pytest

from alexnet_jax.config import load
from tests.references import small_runs


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_digits_reach_098(tmp_path, precision):
    config = load(str(Path(__file__).parents[2] / "configs" / "digits.py"))
    config.model.precision = precision
    config.eval_every_epochs = config.checkpoint.every_epochs = 10  # twice is enough
    final = small_runs.train(config, tmp_path)
    assert final.num_examples == 360
    assert final.top1 >= 0.98
