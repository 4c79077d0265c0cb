"""The strategies compute the same steps."""

import jax
import numpy as np
import pytest

from alexnet_jax.errors import RequestError
from alexnet_jax.train import checkpoint, loop
from alexnet_jax.train.checkpoint_writer import Checkpoints
from alexnet_jax.train.parallel import STRATEGIES
from tests.train.runs import build, small_config

SMALL = {"torchvision": 63, "deepspark": 32, "cifar32": 32}
pytestmark = pytest.mark.usefixtures("narrow", "quick_compilation")


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
def test_dropout_and_augmentation_are_the_same_in_every_strategy(strategy, on_one_device):
    _, _, history = _train(_config("torchvision", strategy, **DROPPED), 4, 2)
    np.testing.assert_allclose(history, on_one_device, rtol=2e-5)


@pytest.mark.parametrize(
    ("mixing", "batch_size"), [("augment.mixup_alpha", 8), ("augment.cutmix_alpha", 4)]
)
def test_an_image_is_mixed_with_the_same_in_every_strategy(mixing, batch_size):
    """With two images a device, and with one."""
    changes = {"batch_size": batch_size, mixing: 1.0}
    _, _, expected = _train(_config("cifar32", "jit", **changes), 1, 2)
    for strategy in STRATEGIES:
        _, _, history = _train(_config("cifar32", strategy, **changes), 4, 2)
        np.testing.assert_allclose(history, expected, rtol=2e-5, err_msg=strategy)


DROPPED = {"model.dropout_rate": 0.5}


@pytest.fixture(scope="module")
def on_one_device(narrow, quick_compilation) -> list[float]:
    """Losses of two steps with dropout."""
    _, _, history = _train(_config("torchvision", "jit", **DROPPED), 1, 2)
    return history


def test_evaluation_is_the_same_in_every_strategy():
    runs = [build(_config("cifar32", strategy, batch_size=12), 4) for strategy in STRATEGIES]
    runs.append(build(_config("cifar32", "jit"), 1))
    *averages, expected = (
        loop.evaluate(run.eval_step, run.initial_state, run.eval_batches()) for run in runs
    )
    for strategy, average in zip(STRATEGIES, averages, strict=True):
        assert average.num_examples == 24
        assert average == pytest.approx(expected, rel=1e-5), strategy


def test_checkpoints_cross_strategies_and_device_counts(tmp_path):
    others = [build(_config("deepspark", strategy), 2) for strategy in STRATEGIES]
    for strategy in STRATEGIES:
        workdir = tmp_path / strategy
        run, state, _ = _train(_config("deepspark", strategy), 4, 1)
        checkpoints = Checkpoints(workdir, run.identity, keep=1, keep_best=False)
        checkpoints.save(1, state, None)
        checkpoints.close()
        for other in others:
            restored = checkpoint.restore(workdir, other.identity, other.initial_state)
            jax.tree.map(np.testing.assert_array_equal, restored, state)


def test_hybrid_holds_a_part_of_the_dense_layers_and_of_their_momentum(narrow):
    sizes = {}
    for device_count in (1, 2, 4):
        run = build(_config("torchvision", "hybrid"), device_count)
        sizes[device_count] = sum(
            leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(run.initial_state)
        )
    weights = 256 * 36 * narrow + narrow * narrow + narrow * 10 + 2 * narrow
    dense = 2 * 4 * weights  # with momentum, in bytes
    for device_count in (2, 4):
        saved = sizes[1] - sizes[device_count]
        assert saved == dense * (device_count - 1) / device_count


def test_hybrid_needs_devices_that_divide_the_hidden_layers(narrow):
    message = f"splits the {narrow} units.*which 3 devices cannot share"
    with pytest.raises(RequestError, match=message):
        build(_config("torchvision", "hybrid", batch_size=12), 3)
