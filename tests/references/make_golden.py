"""Computes ``golden.json`` with PyTorch: python -m tests.references.make_golden (from the repository's root).

What it holds lets part of the comparison with PyTorch run where PyTorch is not installed.
"""

import json
from pathlib import Path

import jax
import numpy as np
import torch
from flax import nnx

from alexnet_jax.model import alexnet, functional
from tests.references import numbers, small_runs, torch_network, torch_training
from tests.train import test_optimizer, test_schedules

CLASSES = 7


def logits(variant, size):
    abstract = nnx.eval_shape(lambda: alexnet.create(variant, num_classes=CLASSES, image_size=size))
    params, statistics = (numbers.weights_like(tree) for tree in functional.split(abstract)[1:])
    network = torch_network.build(variant, image_size=size, num_classes=CLASSES)
    torch_network.load(network, params, statistics).eval()
    with torch.no_grad():
        return network(torch_network.inputs(numbers.images(2, size))).tolist()


def sgd_losses(settings):
    settings = dict(settings)
    clip_norm = settings.pop("clip_norm", None)
    _, first, _ = small_runs.step_and_state()
    params = jax.tree.map(np.asarray, first.params)
    model = torch_training.network("cifar32", params, {}, size=32, num_classes=10)
    optimizer = torch_training.sgd(model, learning_rate=test_optimizer.LEARNING_RATE, **settings)
    return torch_training.train(model, optimizer, test_optimizer.batches(), clip_norm=clip_norm)


def scheduled(name, **options):
    """Returns the learning rate of twelve epochs, from .5."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.5)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def plateau(metric):
    """Returns the learning rate after each evaluation of ``test_schedules.evaluations``."""
    rule = test_schedules.plateau()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], rule.learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        "min" if metric == "loss" else "max",
        factor=rule.factor,
        patience=rule.patience,
        threshold=rule.threshold,
        min_lr=rule.min_learning_rate,
    )
    rates = []
    for value in test_schedules.evaluations(metric):
        scheduler.step(value)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def main():
    jax.config.update("jax_platforms", "cpu")
    golden = {
        "torch": torch.__version__,
        "logits": {
            variant: logits(variant, size)
            for variant, size in (("torchvision", 63), ("cifar32", 32), ("deepspark", 64))
        },
        "sgd_losses": {
            name: sgd_losses(settings) for name, settings in test_optimizer.SETTINGS.items()
        },
        "step_lr": scheduled("StepLR", step_size=5, gamma=0.1),
        "cosine_annealing_lr": scheduled("CosineAnnealingLR", T_max=12),
        "reduce_lr_on_plateau": {metric: plateau(metric) for metric in ("loss", "top1")},
    }
    path = Path(__file__).with_name("golden.json")
    path.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
