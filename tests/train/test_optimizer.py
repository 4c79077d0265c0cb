"""Ten steps of every optimizer setting on the weights and batches PyTorch's SGD was given."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from alexnet_jax.train.optimizer import DECAY_MASKS, sgd
from tests.references import numbers, small_runs

SETTINGS = {
    "plain": {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "decay_mask": "all"},
    "momentum": {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0, "decay_mask": "all"},
    "nesterov": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.2, "decay_mask": "all"},
    "decay": {"momentum": 0.9, "nesterov": False, "weight_decay": 0.2, "decay_mask": "all"},
    "no_bias": {"momentum": 0.9, "nesterov": False, "weight_decay": 0.2, "decay_mask": "no_bias"},
    "clipped": {
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.2,
        "decay_mask": "all",
        "clip_norm": 0.1,
    },
}
LEARNING_RATE = 0.01
GOLDEN = json.loads((Path(__file__).parents[1] / "references" / "golden.json").read_text())


def batches():
    return [
        small_runs.batch_of(
            small_runs.pixels(8, 32, f"pixels {i}"), numbers.labels(8, 10, f"labels {i}")
        )
        for i in range(10)
    ]


@pytest.fixture(scope="module", params=SETTINGS)
def ten_steps(request):
    """Returns (name, first state, last state, losses) of ten of our steps."""
    settings = SETTINGS[request.param]
    step, first, _ = small_runs.step_and_state(learning_rate=LEARNING_RATE, optimizer=settings)
    state, losses = first, []
    for batch in batches():
        state, sums = step(state, batch)
        losses.append(float(sums["loss"]) / 8)
    return request.param, first, state, losses


def test_losses_are_those_pytorch_gave_once(ten_steps):
    name, _, _, losses = ten_steps
    np.testing.assert_allclose(losses, GOLDEN["sgd_losses"][name], rtol=1e-4)


def test_parameters_are_pytorchs(ten_steps):
    pytest.importorskip("torch")
    from tests.references import torch_network, torch_training

    name, first, last, losses = ten_steps
    settings = dict(SETTINGS[name])
    clip_norm = settings.pop("clip_norm", None)
    params = jax.tree.map(np.asarray, first.params)
    model = torch_training.network("cifar32", params, {}, size=32, num_classes=10)
    optimizer = torch_training.sgd(model, learning_rate=LEARNING_RATE, **settings)
    theirs = torch_training.train(model, optimizer, batches(), clip_norm=clip_norm)
    np.testing.assert_allclose(losses, theirs, rtol=1e-4)
    for layer, leaves in torch_network.parameters_as_ours(model).items():
        for kind, value in leaves.items():
            moved = value - params[layer][kind]
            ours = np.asarray(last.params[layer][kind]) - params[layer][kind]
            error = np.linalg.norm(ours - moved) / np.linalg.norm(moved)
            assert error < 1e-4, f"{layer}/{kind}: {error}"


def test_no_two_settings_give_the_same_losses():
    curves = [tuple(np.round(losses, 5)) for losses in GOLDEN["sgd_losses"].values()]
    assert len(set(curves)) == len(SETTINGS)


@pytest.mark.parametrize(
    ("mask", "decayed"),
    [("all", {"kernel", "bias", "scale"}), ("no_bias", {"kernel"})],
)
def test_what_decays(mask, decayed):
    params = {"conv1": {"kernel": 1, "bias": 1}, "bn1": {"scale": 1, "bias": 1}}
    marks = DECAY_MASKS[mask](params)
    for leaves in marks.values():
        for name, marked in leaves.items():
            assert marked == (name in decayed)


def test_clipping_leaves_small_gradients_and_shrinks_large_ones_together():
    rule = sgd(
        lambda step: 1.0,
        momentum=0.0,
        nesterov=False,
        weight_decay=0.0,
        decay_mask="all",
        clip_norm=1.0,
    )
    params = {"a": {"kernel": jnp.zeros(1)}, "b": {"kernel": jnp.zeros(1)}}
    for gradients, expected in (((0.3, 0.4), (0.3, 0.4)), ((3.0, 4.0), (0.6, 0.8))):
        tree = {n: {"kernel": jnp.array([g])} for n, g in zip("ab", gradients, strict=True)}
        updates, _ = rule.update(tree, rule.init(params), params)
        moved = [-float(updates[name]["kernel"][0]) for name in "ab"]
        np.testing.assert_allclose(moved, expected, rtol=1e-6)


PLAIN = {"momentum": 0.9, "nesterov": False, "weight_decay": 0.1, "decay_mask": "all"}


def two_steps(rule, params, gradients):
    """Returns the parameters after two steps along the same gradients, and the optimizer's state."""
    state = rule.init(params)
    for _ in range(2):
        updates, state = rule.update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return params, state


def test_frozen_layers_stay_and_count_for_nothing():
    body = {"kernel": jnp.array([3.0, 0.0, 1.0])}
    params = {"conv1": body, "fc6": {"kernel": jnp.array([1.0, 2.0])}}
    gradients = jax.tree.map(lambda leaf: leaf + 5, params)
    rule = sgd(lambda step: 0.1, **PLAIN, clip_norm=1.0, frozen=("conv1",))
    moved, state = two_steps(rule, params, gradients)
    np.testing.assert_array_equal(moved["conv1"]["kernel"], body["kernel"])
    assert {leaf.shape for leaf in jax.tree.leaves(state) if leaf.ndim} == {(2,)}  # no momentum

    alone = sgd(lambda step: 0.1, **PLAIN, clip_norm=1.0)
    head, _ = two_steps(alone, {"fc6": params["fc6"]}, {"fc6": gradients["fc6"]})
    np.testing.assert_array_equal(moved["fc6"]["kernel"], head["fc6"]["kernel"])


def test_a_factor_multiplies_one_layers_learning_rate():
    params = {"fc6": {"kernel": jnp.array([1.0])}, "fc7": {"kernel": jnp.array([1.0])}}
    gradients = jax.tree.map(jnp.ones_like, params)
    moved, _ = two_steps(sgd(lambda step: 0.01, **PLAIN, factors={"fc7": 10.0}), params, gradients)
    slow, _ = two_steps(sgd(lambda step: 0.01, **PLAIN), params, gradients)
    fast, _ = two_steps(sgd(lambda step: 0.1, **PLAIN), params, gradients)
    np.testing.assert_allclose(moved["fc6"]["kernel"], slow["fc6"]["kernel"], rtol=1e-6)
    np.testing.assert_allclose(moved["fc7"]["kernel"], fast["fc7"]["kernel"], rtol=1e-6)
