"""Fifty steps from the same weights on the same batches as PyTorch, in float32, no dropout; and batch statistics."""

import jax
import numpy as np
import pytest

from tests.references import numbers, small_runs

# The smallest images each network takes, or near; the recipe's own optimizer settings but for a rate that suits noise.
CURVES = {
    "torchvision": (63, {"weight_decay": 1e-4}),
    "mindspore_cifar": (67, {}),
    "deepspark": (32, {"weight_decay": 1e-4}),
}
STEPS, BATCH, CLASSES = 50, 8, 5
pytestmark = pytest.mark.usefixtures("narrow")
RATE = 3e-4  # at ten times this rate the roundings of two libraries grow to 3e-3 within fifty steps


@pytest.mark.parametrize("variant", CURVES)
def test_fifty_steps_are_pytorchs(variant):
    pytest.importorskip("torch")
    from tests.references import torch_training

    size, settings = CURVES[variant]
    settings = {
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0,
        "decay_mask": "all",
    } | settings
    step, state, _ = small_runs.step_and_state(
        variant, size=size, num_classes=CLASSES, learning_rate=RATE, optimizer=settings
    )
    params, statistics = (
        jax.tree.map(np.asarray, tree) for tree in (state.params, state.model_state)
    )
    data = torch_training.batches(5, BATCH, size, CLASSES) * (STEPS // 5)
    ours = []
    for batch in data:
        state, sums = step(state, batch)
        ours.append(float(sums["loss"]) / BATCH)
    model = torch_training.network(variant, params, statistics, size=size, num_classes=CLASSES)
    optimizer = torch_training.sgd(model, learning_rate=RATE, **settings)
    theirs = torch_training.train(model, optimizer, data)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    assert np.mean(theirs[-5:]) < 0.98 * np.mean(theirs[:5])  # it learned


def test_batch_statistics_are_pytorchs_but_for_its_n_minus_one():
    """PyTorch normalises with the variance over n, and stores the one over n - 1; Flax stores what it uses."""
    pytest.importorskip("torch")
    from torch import nn

    from tests.references import torch_training

    step, state, _ = small_runs.step_and_state("deepspark", num_classes=CLASSES, learning_rate=0.0)
    first = jax.tree.map(np.asarray, state.model_state)
    params = jax.tree.map(np.asarray, state.params)
    model = torch_training.network("deepspark", params, first, size=32, num_classes=CLASSES)
    optimizer = torch_training.sgd(
        model, learning_rate=0.0, momentum=0.0, nesterov=False, weight_decay=0.0, decay_mask="all"
    )
    data = torch_training.batches(3, BATCH, 32, CLASSES)
    for batch in data:
        state, _ = step(state, batch)
    torch_training.train(model, optimizer, data)
    pixels = {"bn1": 16 * 16, "bn2": 8 * 8, "bn3": 4 * 4, "bn4": 4 * 4, "bn5": 4 * 4}
    for name, module in model.named_children():
        if not isinstance(module, nn.BatchNorm2d):
            continue
        ours = state.model_state[name]
        theirs = module.running_mean.numpy()
        np.testing.assert_allclose(ours["mean"], theirs, atol=1e-5 * np.abs(theirs).max())
        count = BATCH * pixels[name]
        kept = 0.9**3 * first[name]["var"]
        expected = kept + (np.asarray(ours["var"]) - kept) * count / (count - 1)
        np.testing.assert_allclose(module.running_var.numpy(), expected, rtol=1e-4)


def test_smoothed_loss_is_pytorchs():
    torch = pytest.importorskip("torch")
    from alexnet_jax.train.losses import cross_entropy

    logits = 3 * numbers.uniform("logits", (16, 10))
    labels = numbers.labels(16, 10)
    for smoothing in (0.0, 0.1):
        theirs = torch.nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")(
            torch.from_numpy(logits), torch.from_numpy(labels).long()
        )
        ours = cross_entropy(logits, labels, smoothing, "all_classes")
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5)
