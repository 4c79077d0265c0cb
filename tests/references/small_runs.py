"""Small runs of the real steps, for the tests of what recipes add to them."""

import jax
import numpy as np
from jax import numpy as jnp

from alexnet_jax.config import default_config
from alexnet_jax.model import alexnet, functional
from alexnet_jax.train import experiment, loop
from alexnet_jax.train import state as train_state
from alexnet_jax.train.augment import Augmentation, Normalization, Transform
from alexnet_jax.train.optimizer import sgd
from alexnet_jax.train.steps import Objective, make_train_step
from tests.references import numbers

PLAIN = Transform(32, Normalization((0.5,) * 3, (0.25,) * 3), Augmentation())


def config(**changes):
    """Returns a run of seconds, cifar32 on 64 made images in 8 steps an epoch; dots in keys as two underscores."""
    small = default_config()
    small.model.variant, small.model.num_classes = "cifar32", 10
    small.model.precision = "float32"
    small.data.source, small.data.synthetic_examples = "synthetic", 64
    small.batch_size, small.num_epochs = 8, 2
    small.log_every_steps = 4
    small.eval.protocol = "squash"
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    small.update_from_flattened_dict(changes)
    return small


def build(small, device_count=1):
    """Builds the run on the first CPU devices."""
    devices = jax.devices("cpu")[:device_count]
    return experiment.build(small, experiment.open_sources(small), devices)


def train(small, workdir, device_count=1):
    """Trains the run and returns its last evaluation."""
    return loop.train(build(small, device_count), workdir)


def pixels(batch, size=32, name="pixels"):
    """Returns uint8 images [batch, size, size, 3]."""
    return ((numbers.uniform(name, (batch, size, size, 3)) + 1) * 128).clip(0, 255).astype(np.uint8)


def batch_of(images, labels):
    """Returns a batch without padding."""
    count = len(labels)
    return {
        "image": images,
        "label": np.asarray(labels, np.int32),
        "mask": np.ones(count, bool),
        "row": np.arange(count, dtype=np.int32),
    }


def step_and_state(
    variant="cifar32",
    *,
    size=32,
    num_classes=10,
    learning_rate=0.01,
    optimizer=(),
    objective=(),
    state=(),
    step=(),
    dtype=jnp.float32,
    gain=0.6,
):
    """Returns a jitted train step, its first state, and the objective.

    The weights are those of ``numbers.weights_like`` times ``gain``: at 1 the gradients of noise are so large that a
    rounding grows a thousandfold within ten steps.
    """
    model = alexnet.create(
        variant, num_classes=num_classes, image_size=size, dropout_rate=0.0, dtype=dtype
    )
    definition, *trees = functional.split(model)
    params, statistics = (jax.tree.map(jnp.asarray, numbers.weights_like(tree)) for tree in trees)
    params = jax.tree.map(lambda leaf: leaf * gain, params)
    plain = Transform(size, PLAIN.normalization, PLAIN.augmentation)
    settings = {"transform": plain, "label_smoothing": 0.0, "smoothing_form": "all_classes"}
    settings["total"] = lambda tree: tree  # one device
    goal = Objective(model=definition, **(settings | dict(objective)))
    settings = {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0, "decay_mask": "all"}

    def schedule(step):
        return jnp.full(jnp.shape(step), learning_rate, jnp.float32)

    rule = sgd(schedule, **(settings | dict(optimizer)))
    first = train_state.create(params, statistics, rule, **dict(state))
    return jax.jit(make_train_step(goal, rule, schedule, 0, **dict(step))), first, goal
