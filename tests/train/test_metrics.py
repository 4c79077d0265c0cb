import jax
import numpy as np
import pytest
from jax import numpy as jnp

from alexnet_jax.train.evaluate import evaluate
from alexnet_jax.train.metrics import Accumulator, batch_sums


def _reference(logits: np.ndarray, labels: np.ndarray, k: int) -> int:
    """How many labels are among the k largest logits, by sorting."""
    return sum(
        label in sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]
        for row, label in zip(logits, labels, strict=True)
    )


@pytest.mark.parametrize("classes", [2, 4, 5, 10, 1000])
def test_sums_against_sorting(classes):
    generator = np.random.default_rng(classes)
    logits = generator.integers(0, 6, (64, classes)).astype(np.float32)  # with ties
    labels, losses = generator.integers(0, classes, 64), generator.random(64).astype(np.float32)
    mask = generator.random(64) < 0.7
    sums = jax.device_get(
        batch_sums(losses, jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(mask))
    )
    assert sums["count"] == mask.sum()
    assert sums["top1"] == _reference(logits[mask], labels[mask], 1)
    assert sums["top5"] == _reference(logits[mask], labels[mask], 5)
    np.testing.assert_allclose(sums["loss"], losses[mask].sum(), rtol=1e-5)


def test_logits_that_are_not_numbers_are_never_right():
    logits = jnp.full((3, 10), jnp.nan)
    sums = batch_sums(jnp.zeros(3), logits, jnp.array([1, 5, 9]), jnp.ones(3, bool))
    assert int(sums["top1"]) == 0


def test_a_loss_that_is_not_a_number_in_padding_is_left_out():
    losses = jnp.array([1.0, jnp.nan])
    mask = jnp.array([True, False])
    sums = batch_sums(losses, jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32), mask)
    assert float(sums["loss"]) == 1.0


def test_accumulator_divides_once():
    accumulator = Accumulator()
    for count, loss in ((3, 6.0), (1, 10.0)):
        accumulator.add(
            {
                "count": jnp.int32(count),
                "loss": jnp.float32(loss),
                "top1": jnp.int32(1),
                "top5": jnp.int32(1),
            }
        )
    assert accumulator.averages() == (4.0, 0.5, 0.5, 4)
    accumulator.reset()
    assert accumulator.count == 0


def test_evaluate_counts_every_batch():
    sums = {
        "count": jnp.int32(2),
        "loss": jnp.float32(1),
        "top1": jnp.int32(1),
        "top5": jnp.int32(2),
    }
    averages = evaluate(lambda state, batch: sums, None, range(5))
    assert averages == (0.5, 0.5, 1.0, 10)
