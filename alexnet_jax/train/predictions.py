"""What a trained network says to each evaluation image, not only how often it is right."""

from typing import NamedTuple

import jax
import numpy as np

from alexnet_jax.data.order import PADDING
from alexnet_jax.train import parts
from alexnet_jax.train.experiment import Experiment
from alexnet_jax.train.losses import cross_entropy
from alexnet_jax.train.metrics import Averages
from alexnet_jax.train.state import TrainState
from alexnet_jax.train.steps import DeviceBatch

MOST_CLASSES = 5  # kept for an image


class Predictions(NamedTuple):
    """One row an image of the evaluation split, in its order.

    Attributes:
      labels: int32 [images], the true classes.
      losses: float32 [images], in nats.
      classes: int32 [images, k], the k most probable classes, best first; k is ``MOST_CLASSES`` or all there are.
      probabilities: float32 [images, k], theirs.
    """

    labels: np.ndarray
    losses: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray

    def averages(self) -> Averages:
        """Returns the metrics of all images together."""
        right = self.classes == self.labels[:, None]
        losses = self.losses.astype(np.float64)
        return Averages(losses.mean(), right[:, 0].mean(), right.any(1).mean(), len(self.labels))


def predict(experiment: Experiment, state: TrainState) -> Predictions:
    """Evaluates every image of the evaluation split on one device.

    Args:
      experiment: Of one device and one process.
      state: To evaluate.
    """
    eval_logits = parts.eval_logits(experiment.config, experiment.objective)
    count = min(MOST_CLASSES, experiment.config.model.num_classes)

    @jax.jit
    def most_probable(state: TrainState, batch: DeviceBatch) -> tuple[jax.Array, ...]:
        logits = eval_logits(state, batch)
        form = experiment.objective.smoothing_form
        losses = cross_entropy(logits, batch["label"], 0.0, form)
        probabilities, classes = jax.lax.top_k(jax.nn.softmax(logits), count)
        return batch["label"], losses, classes, probabilities

    order, found = experiment.eval_order, []
    for step, batch in enumerate(experiment.eval_batches()):
        real = order.indices(step) != PADDING
        host = jax.device_get(most_probable(state, batch))
        found.append(Predictions(*(column[real] for column in host)))
    return Predictions(*(np.concatenate(column) for column in zip(*found, strict=True)))
