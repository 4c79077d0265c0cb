import numpy as np
import pytest

from alexnet_jax.train import loop
from alexnet_jax.train.predictions import predict
from tests.train.runs import build, small_config


@pytest.mark.parametrize("protocol", ["squash", "ten_crop"])
def test_predictions_add_up_to_the_evaluation(protocol):
    """24 images in batches of 7: the same loss and accuracies as by the sums."""
    run = build(small_config(**{"eval.protocol": protocol, "batch_size": 7}))
    averages = loop.evaluate(run.eval_step, run.initial_state, run.eval_batches())
    found = predict(run, run.initial_state)
    assert found.averages() == pytest.approx(averages, rel=1e-5)
    np.testing.assert_array_equal(
        found.labels, [run.sources["eval"][i]["label"] for i in range(24)]
    )
    assert (np.diff(found.probabilities) <= 0).all()
