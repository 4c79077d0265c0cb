"""Training in PyTorch, on the weights and batches our steps are given."""

import torch
from torch import nn

from tests.references import small_runs, torch_network


def batches(count, batch_size, size, num_classes):
    """Returns ``count`` batches that differ: pixels and labels."""
    from tests.references import numbers

    return [
        small_runs.batch_of(
            small_runs.pixels(batch_size, size, f"pixels {i}"),
            numbers.labels(batch_size, num_classes, f"labels {i}"),
        )
        for i in range(count)
    ]


def network(variant, params, statistics, *, size, num_classes):
    """Returns the network in training, with our weights."""
    built = torch_network.build(
        variant, image_size=size, num_classes=num_classes, conv_bias=variant != "mindspore_cifar"
    )
    return torch_network.load(built, params, statistics).train()


def sgd(model, *, learning_rate, momentum, nesterov, weight_decay, decay_mask):
    """Returns torch.optim.SGD, with groups where not everything decays."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": kernels},
        {"params": others, "weight_decay": weight_decay if decay_mask == "all" else 0.0},
    ]
    return torch.optim.SGD(
        groups, learning_rate, momentum, weight_decay=weight_decay, nesterov=nesterov
    )


def train(model, optimizer, data, *, clip_norm=None, label_smoothing=0.0):
    """Takes one step on every batch and returns the losses."""
    losses = []
    loss_of = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    for batch in data:
        images = (batch["image"].astype("float32") / 255 - 0.5) / 0.25
        loss = loss_of(
            model(torch_network.inputs(images.astype("float32"))),
            torch.from_numpy(batch["label"]).long(),
        )
        optimizer.zero_grad()
        loss.backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses
