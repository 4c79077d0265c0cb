import numpy as np
import pytest

from alexnet_jax.train import loop
from alexnet_jax.train.predictions import predict
from tests.train.runs import build, small_config


@pytest.mark.parametrize("protocol", ["squash", "ten_crop"])
def test_predictions_add_up_to_the_evaluation(protocol):
    """24 images in batches of 7: the same loss and accuracies, image by image."""
    run = build(small_config(**{"eval.protocol": protocol, "batch_size": 7}))
    averages = loop.evaluate(run.eval_step, run.initial_state, run.eval_batches())
    found = predict(run, run.initial_state)
    labels = found.labels[:, None]
    assert found.losses.mean() == pytest.approx(averages.loss, rel=1e-5)
    assert (found.classes[:, :1] == labels).mean() == pytest.approx(averages.top1)
    assert (found.classes == labels).any(1).mean() == pytest.approx(averages.top5)
    np.testing.assert_array_equal(
        found.labels, [run.sources["eval"][i]["label"] for i in range(24)]
    )
    assert (np.diff(found.probabilities) <= 0).all()
