"""What a network confuses, and which images it knows best and worst."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alexnet_jax.train.predictions import Predictions


class Confusion(NamedTuple):
    """How many images of one class were taken for another."""

    truth: str
    taken_for: str
    images: int
    of: int  # that the true class has


def confusion_matrix(predictions: Predictions, num_classes: int) -> np.ndarray:
    """Returns how many images of each class (row) were taken for each class (column)."""
    pairs = predictions.labels.astype(np.int64) * num_classes + predictions.classes[:, 0]
    counts = np.bincount(pairs, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes)


def most_confused(predictions: Predictions, names: Sequence[str], count: int) -> list[Confusion]:
    """Returns the pairs of classes confused most often, most often first, without the many that never are."""
    wrong = predictions.classes[:, 0] != predictions.labels
    pairs = np.stack([predictions.labels[wrong], predictions.classes[wrong, 0]], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    sizes = np.bincount(predictions.labels, minlength=len(names))
    order = np.argsort(-counts, kind="stable")[:count]
    return [
        Confusion(names[truth], names[taken], int(number), int(sizes[truth]))
        for (truth, taken), number in zip(found[order], counts[order], strict=True)
    ]


def best(predictions: Predictions) -> np.ndarray:
    """Returns all images in the order of their losses, the lowest first."""
    return np.argsort(predictions.losses, kind="stable")


def worst(predictions: Predictions) -> np.ndarray:
    """Returns all images in the order of their losses, the highest first."""
    return np.argsort(-predictions.losses, kind="stable")
