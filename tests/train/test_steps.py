import jax
import numpy as np
import pytest
from jax import numpy as jnp

from alexnet_jax.model import functional
from alexnet_jax.model.placement import Placement
from alexnet_jax.randomness import example_keys
from alexnet_jax.train import experiment, losses, parts
from alexnet_jax.train import state as train_state
from alexnet_jax.train.augment import Augmentation, Normalization, Transform
from alexnet_jax.train.optimizer import sgd
from alexnet_jax.train.steps import (
    Objective,
    make_eval_logits,
    make_eval_step,
    make_train_step,
)
from tests.train.runs import build, small_config


def _losses(config, device_count: int, steps: int) -> tuple[list[float], experiment.Experiment]:
    run = build(config, device_count)
    state, history = run.initial_state, []
    for _, batch in zip(range(steps), run.train_batches(0), strict=False):
        state, sums = run.train_step(state, run.strategy.place_batch(batch))
        history.append(float(sums["loss"]) / config.batch_size)
    return history, run


@pytest.mark.parametrize(
    ("variant", "device_counts", "steps"), [("cifar32", (2, 4), 6), ("deepspark", (4,), 3)]
)
def test_more_devices_learn_the_same(variant, device_counts, steps):
    """Same examples, same augmentation, same dropout; the sums differ in the order of additions only."""
    changes = {"model.variant": variant, "data.image_size": 32, "optimizer.learning_rate": 0.005}
    config = small_config(**changes)
    one, _ = _losses(config, 1, steps)
    assert one[0] != one[-1]
    for device_count in device_counts:
        many, run = _losses(config, device_count, steps)
        assert run.initial_state.step.sharding.device_set == set(jax.devices()[:device_count])
        np.testing.assert_allclose(many, one, rtol=2e-5)


@pytest.mark.parametrize("device_count", [2, 4])
def test_augmented_images_do_not_depend_on_the_devices(device_count):
    config = small_config()
    images = {}
    for count in (1, device_count):
        run = build(config, count)
        transform = parts.device_transform(config)
        batch = run.strategy.place_batch(next(run.train_batches(3)))

        def augmented(batch, transform=transform):
            return transform(batch["image"], example_keys(0, jnp.int32(3), batch["row"]))

        images[count] = np.asarray(jax.jit(augmented)(batch))
    np.testing.assert_array_equal(images[1], images[device_count])


def test_a_step_is_a_function_of_state_and_batch():
    run = build(small_config())
    batch = run.strategy.place_batch(next(run.train_batches(0)))
    results = [run.train_step(jax.tree.map(jnp.copy, run.initial_state), batch) for _ in range(2)]
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_the_step_consumes_its_state():
    run = build(small_config())
    batch = run.strategy.place_batch(next(run.train_batches(0)))
    state = jax.tree.map(jnp.copy, run.initial_state)
    run.train_step(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


def test_dropout_and_augmentation_change_from_step_to_step():
    config = small_config(**{"optimizer.learning_rate": 0.0, "optimizer.weight_decay": 0.0})
    run = build(config)
    batch = run.strategy.place_batch(next(run.train_batches(0)))
    state, seen = run.initial_state, []
    for _ in range(3):
        state, sums = run.train_step(state, batch)
        seen.append(float(sums["loss"]))
    assert len(set(seen)) == 3
    assert int(state.step) == 3


def _plain_objective(variant: str = "cifar32", **changes):
    config = small_config(**{"model.variant": variant, "data.image_size": 32})
    model, params, state = functional.split(
        parts.create_model(config, jnp.float32, Placement(), "plain")
    )
    transform = Transform(32, Normalization((0.5,) * 3, (0.25,) * 3), Augmentation())
    settings = {"label_smoothing": 0.0, "smoothing_form": "all_classes", "total": lambda tree: tree}
    settings |= changes
    return Objective(model=model, transform=transform, **settings), params, state


def _rate(step):
    return jnp.float32(0.1)


def _optimizer():
    return sgd(_rate, momentum=0.9, nesterov=False, weight_decay=0.0, decay_mask="all")


def test_padding_changes_neither_loss_nor_gradient():
    """Three examples, and the same three in a batch of five: the mean is over the three."""
    objective, params, model_state = _plain_objective()
    optimizer = _optimizer()
    step = make_train_step(objective, optimizer, _rate, seed=0)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (5, 32, 32, 3), np.uint8)
    batch = {
        "image": images,
        "label": np.arange(5, dtype=np.int32),
        "mask": np.arange(5) < 3,
        "row": np.arange(5, dtype=np.int32),
    }
    state = train_state.create(params, model_state, optimizer)
    full, full_sums = jax.jit(step)(state, batch)
    part, part_sums = jax.jit(step)(state, {name: value[:3] for name, value in batch.items()})
    np.testing.assert_allclose(full_sums["loss"], part_sums["loss"], rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6),
        full.params,
        part.params,
    )


def test_evaluation_has_no_smoothing_and_leaves_the_state():
    objective, params, model_state = _plain_objective("deepspark", label_smoothing=0.3)
    optimizer = _optimizer()
    state = train_state.create(params, model_state, optimizer)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    labels = np.arange(4, dtype=np.int32)
    sums = make_eval_step(objective, make_eval_logits(objective))(
        state, {"image": images, "label": labels, "mask": np.ones(4, bool), "row": labels}
    )
    logits, _ = objective.model.apply(params, model_state, objective.transform(jnp.asarray(images)))
    expected = losses.cross_entropy(logits, jnp.asarray(labels), 0.0, "all_classes").sum()
    np.testing.assert_allclose(sums["loss"], expected, rtol=1e-5)


def test_the_pipeline_is_part_of_no_state():
    """Batches of a run that starts at step 5 are those of the whole run."""
    run = build(small_config())
    whole = [batch for _, batch in zip(range(8), run.train_batches(0), strict=False)]
    late = next(run.train_batches(5))
    np.testing.assert_array_equal(whole[5]["image"], late["image"])


@pytest.mark.skipif(jax.__version_info__ < (0, 12), reason="XLA forgets the order before")
def test_the_update_copies_no_kernel():
    run = build(small_config())
    batch = run.place_batch("train", next(batches := run.train_batches(0)))
    batches.close()
    program = run.train_step.lower(run.initial_state, batch).compile().as_text()
    entry = program[program.index("ENTRY") :].splitlines()
    assert any(" parameter(" in line and "state_params__conv1" in line for line in entry)
    copies = [line for line in entry if " copy(" in line and "state_params" in line]
    assert [line for line in copies if "kernel" in line] == []
