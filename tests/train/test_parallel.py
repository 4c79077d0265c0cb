"""The strategies compute the same steps."""

import jax
import numpy as np
import pytest

from alexnet_jax.errors import RequestError
from alexnet_jax.train import checkpoint, loop
from alexnet_jax.train.checkpoint import Checkpoints
from alexnet_jax.train.parallel import STRATEGIES
from tests.train.runs import build, small_config

SMALL = {"torchvision": 63, "deepspark": 32, "cifar32": 32}


def _config(variant: str, strategy: str, **changes):
    return small_config(
        **{
            "model.variant": variant,
            "data.image_size": SMALL[variant],
            "model.dropout_rate": 0.0,
            "optimizer.learning_rate": 0.005,
            "parallelism": strategy,
            "batch_size": 8,
            **changes,
        }
    )


def _train(config, device_count: int, steps: int):
    run = build(config, device_count)
    state, history = run.initial_state, []
    for _, batch in zip(range(steps), run.train_batches(0), strict=False):
        state, sums = run.train_step(state, run.strategy.place_batch(batch))
        history.append(float(sums["loss"]) / config.batch_size)
    return run, state, history


@pytest.mark.parametrize("variant", SMALL)
def test_strategies_learn_the_same(variant):
    _, _, expected = _train(_config(variant, "jit"), 1, 4)
    assert len(set(expected)) == 4
    for strategy in STRATEGIES:
        _, _, history = _train(_config(variant, strategy), 4, 4)
        np.testing.assert_allclose(history, expected, rtol=2e-5, err_msg=strategy)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_dropout_and_augmentation_are_the_same_in_every_strategy(strategy):
    dropped = {"model.dropout_rate": 0.5}
    _, _, expected = _train(_config("torchvision", "jit", **dropped), 1, 2)
    _, _, history = _train(_config("torchvision", strategy, **dropped), 4, 2)
    np.testing.assert_allclose(history, expected, rtol=2e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_evaluation_is_the_same_in_every_strategy(strategy):
    run = build(_config("cifar32", strategy, batch_size=12), 4)
    one = build(_config("cifar32", "jit"), 1)
    averages, expected = (
        loop.evaluate(r.eval_step, r.initial_state, r.eval_batches()) for r in (run, one)
    )
    assert averages.num_examples == 24
    assert averages == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("written_by", STRATEGIES)
@pytest.mark.parametrize("read_by", STRATEGIES)
def test_checkpoints_cross_strategies_and_device_counts(tmp_path, written_by, read_by):
    run, state, _ = _train(_config("deepspark", written_by), 4, 1)
    checkpoints = Checkpoints(tmp_path, run.identity, keep=1, keep_best=False)
    checkpoints.save(1, state, None)
    checkpoints.close()
    other = build(_config("deepspark", read_by), 2)
    restored = checkpoint.restore(tmp_path, other.identity, other.initial_state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)


def test_hybrid_holds_a_part_of_the_dense_layers_and_of_their_momentum():
    sizes = {}
    for device_count in (1, 2, 4):
        run = build(_config("torchvision", "hybrid"), device_count)
        sizes[device_count] = sum(
            leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(run.initial_state)
        )
    dense = (
        2 * 4 * (256 * 36 * 4096 + 4096 * 4096 + 4096 * 10 + 2 * 4096)
    )  # with momentum, in bytes
    for device_count in (2, 4):
        saved = sizes[1] - sizes[device_count]
        assert saved == dense * (device_count - 1) / device_count


def test_hybrid_needs_devices_that_divide_the_hidden_layers():
    with pytest.raises(RequestError, match="splits the 4096 units.*which 3 devices cannot share"):
        build(_config("torchvision", "hybrid", batch_size=12), 3)
