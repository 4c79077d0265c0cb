import numpy as np
import pytest

from alexnet_jax.data.order import PADDING, EvalOrder, TrainOrder


def _epoch(order: TrainOrder, epoch: int) -> np.ndarray:
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    return np.concatenate([order.indices(step) for step in steps])


def test_an_epoch_holds_no_example_twice():
    order = TrainOrder(num_examples=103, batch_size=10, seed=0)
    assert order.steps_per_epoch == 10
    for epoch in range(3):
        seen = _epoch(order, epoch)
        assert len(seen) == 100
        assert len(set(seen)) == 100
        assert seen.min() >= 0
        assert seen.max() < 103


def test_an_epoch_holds_every_example_where_batches_divide_it():
    order = TrainOrder(num_examples=60, batch_size=12, seed=1)
    assert set(_epoch(order, 5)) == set(range(60))


def test_epochs_and_seeds_differ():
    order = TrainOrder(num_examples=60, batch_size=12, seed=1)
    assert not np.array_equal(_epoch(order, 0), _epoch(order, 1))
    assert not np.array_equal(_epoch(order, 0), _epoch(TrainOrder(60, 12, seed=2), 0))


def test_order_is_a_function_of_the_step_alone():
    order = TrainOrder(num_examples=1000, batch_size=10, seed=3)
    backwards = {step: order.indices(step) for step in (350, 250, 0, 250)}
    for step, indices in backwards.items():
        np.testing.assert_array_equal(TrainOrder(1000, 10, seed=3).indices(step), indices)


def test_order_never_changes():
    """Golden: a run continued by another version of NumPy or of this package sees the same batches."""
    np.testing.assert_array_equal(TrainOrder(10, 5, seed=0).indices(0), [0, 2, 9, 1, 8])
    np.testing.assert_array_equal(TrainOrder(10, 5, seed=0).indices(3), [4, 1, 0, 6, 9])


def test_shuffling_is_uniform():
    """Each example is equally often first: chi-squared over 2,000 epochs, 9 degrees of freedom."""
    first = [TrainOrder(10, 10, seed=0).indices(epoch)[0] for epoch in range(2000)]
    counts = np.bincount(first, minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 27.9  # the 0.1 % point


@pytest.mark.parametrize("batch_size", [1, 7, 64, 100, 1000])
def test_evaluation_counts_every_example_once(batch_size):
    order = EvalOrder(num_examples=100, batch_size=batch_size)
    rows = np.concatenate([order.indices(step) for step in range(order.steps_per_epoch)])
    assert len(rows) % batch_size == 0
    np.testing.assert_array_equal(rows[rows != PADDING], np.arange(100))
