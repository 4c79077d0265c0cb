"""One step of training and one of evaluation, as pure functions of state and batch."""

import dataclasses
import functools
from collections.abc import Callable, Collection
from typing import Any

import jax
import optax
from jax import numpy as jnp

from alexnet_jax.model.functional import Functional
from alexnet_jax.randomness import example_keys
from alexnet_jax.train.augment import Transform
from alexnet_jax.train.health import NONFINITE, nonfinite_place
from alexnet_jax.train.loss_scale import LossScaling, keep_if
from alexnet_jax.train.losses import cross_entropy
from alexnet_jax.train.metrics import batch_sums
from alexnet_jax.train.mixing import Mixing, mix, neighbour
from alexnet_jax.train.schedules import Schedule
from alexnet_jax.train.state import TrainState
from alexnet_jax.train.ten_crop import ten_crop_logits

DeviceBatch = dict[str, jax.Array]
Sums = dict[str, jax.Array]
TrainStep = Callable[[TrainState, DeviceBatch], tuple[TrainState, Sums]]
Total = Callable[[Any], Any]
Neighbour = Callable[[jax.Array], jax.Array]
EvalLogits = Callable[[TrainState, DeviceBatch], jax.Array]
EvalStep = Callable[[TrainState, DeviceBatch], Sums]


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is learned: the network on transformed images, and its loss.

    Attributes:
      model: The network.
      transform: From pixels to the network's input.
      label_smoothing: In [0, 1); training only.
      smoothing_form: One of ``losses.SMOOTHING_FORMS``.
      total: Adds up over the devices, where the step sees one device's part of the batch; else the identity.
      mixing: Of the training images and their labels; None for none.
      neighbour: What each row is mixed with; another where the step sees one device's part of the batch.
    """

    model: Functional
    transform: Transform
    label_smoothing: float
    smoothing_form: str
    total: Total
    mixing: Mixing | None = None
    neighbour: Neighbour = neighbour

    def examples(self, batch: DeviceBatch, keys: jax.Array) -> DeviceBatch:
        """Returns what the network trains on, each [batch, ...]: augmented images, labels, masks and keys.

        Mixed examples have besides the label of what was mixed in, and the share that is their own.
        """
        images = self.transform(batch["image"], keys, batch.get("shape"))
        examples = {"image": images, "label": batch["label"], "mask": batch["mask"], "key": keys}
        if self.mixing is not None:
            images, share = mix(self.mixing, keys, images, self.neighbour(images))
            other = self.neighbour(batch["label"])
            examples |= {"image": images, "share": share, "other_label": other}
        return examples

    def losses(self, logits: jax.Array, examples: DeviceBatch) -> jax.Array:
        """Returns each example's training loss [batch]."""

        def against(labels: jax.Array) -> jax.Array:
            return cross_entropy(logits, labels, self.label_smoothing, self.smoothing_form)

        losses = against(examples["label"])
        if self.mixing is None:
            return losses
        # Cross-entropy is linear in the target: this is the one against the mixed distribution.
        share = examples["share"]
        return share * losses + (1 - share) * against(examples["other_label"])


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    schedule: Schedule,
    seed: int,
    *,
    accumulate_steps: int = 1,
    loss_scaling: LossScaling | None = None,
    ema_decay: float = 0.0,
    frozen: Collection[str] = (),
) -> TrainStep:
    """Returns ``(state, batch) -> (state, sums)``: augment, forward, backward, update.

    The batch holds image (uint8 [batch, height, width, 3]), label and row (int32 [batch]) and mask (bool [batch]); the
    sums are those of ``metrics.batch_sums`` for the smoothed loss, and besides "learning_rate", the step's, and with
    loss scaling "loss_scale", the step's, and "skipped_steps", up to and with this one; and ``health.NONFINITE``, which
    is 0 where loss scaling skips a step and that can help.

    Args:
      objective: What is learned.
      optimizer: Turns gradients into updates.
      schedule: The learning rate by step, for the record; the optimizer has it too.
      seed: Of the augmentation and dropout.
      accumulate_steps: Parts the batch is cut into, one after the other, to need less memory. The result is the
        uncut batch's, but for the batch statistics of variants that have them, which are the parts' own.
      loss_scaling: None for none.
      ema_decay: Of the moving average of the parameters; only where the state has one.
      frozen: Layers whose parameters pass through, bit for bit: adding an update of zero would turn -0 into 0, and on
        some devices subnormal numbers into 0.
    """

    def train_step(state: TrainState, batch: DeviceBatch) -> tuple[TrainState, Sums]:
        keys = example_keys(seed, state.step, batch["row"])
        examples = objective.examples(batch, keys)
        count = objective.total(batch["mask"].sum(dtype=jnp.int32))

        def loss(params: Any, model_state: Any, part: DeviceBatch) -> tuple[jax.Array, Any]:
            # Nothing is computed backwards for them, and an overflow there would be no fault.
            params = params | {name: jax.lax.stop_gradient(params[name]) for name in frozen}
            logits, model_state = objective.model.apply(
                params, model_state, part["image"], part["key"]
            )
            sums = batch_sums(objective.losses(logits, part), logits, part["label"], part["mask"])
            mean = sums["loss"] / count
            if loss_scaling is not None:
                mean = mean * state.loss_scale["scale"]
            return mean, (sums, model_state)

        gradients, sums, model_state = _gradients(loss, state, examples, accumulate_steps)
        gradients, sums = objective.total((gradients, sums))
        if loss_scaling is not None:
            gradients = jax.tree.map(lambda g: g / state.loss_scale["scale"], gradients)
        sums[NONFINITE] = nonfinite_place(gradients)
        # The update waits for all gradients, which read the parameters: XLA could not update them in place otherwise.
        gradients = jax.lax.optimization_barrier(gradients)
        sums["learning_rate"] = schedule(state.step)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, state.params)
        if state.plateau:
            scale = state.plateau["scale"]
            sums["learning_rate"] *= scale
            updates = jax.tree.map(lambda update: update * scale, updates)
        kept = {name: state.params[name] for name in frozen}
        new = dataclasses.replace(
            state,
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates) | kept,
            model_state=model_state,
            optimizer_state=optimizer_state,
        )
        if loss_scaling is not None:
            finite = sums[NONFINITE] == 0
            may_recover = jnp.isfinite(sums["loss"]) & loss_scaling.may_recover(state.loss_scale)
            sums[NONFINITE] = jnp.where(may_recover, 0, sums[NONFINITE])
            new = dataclasses.replace(
                keep_if(finite, new, state),
                loss_scale=loss_scaling.update(state.loss_scale, finite),
            )
            sums["loss_scale"] = state.loss_scale["scale"]
            sums["skipped_steps"] = new.loss_scale["skipped_steps"]
        if state.ema_params:
            average = optax.incremental_update(new.params, state.ema_params, 1 - ema_decay)
            new = dataclasses.replace(new, ema_params=average)
        return new, sums

    return train_step


def _gradients(
    loss: Callable[..., Any], state: TrainState, examples: DeviceBatch, parts: int
) -> tuple[Any, Sums, Any]:
    """Returns the gradients, the sums and the model state of a batch, computed in ``parts`` parts."""
    gradient = jax.grad(loss, has_aux=True)
    if parts == 1:
        gradients, (sums, model_state) = gradient(state.params, state.model_state, examples)
        return gradients, sums, model_state

    def cut(x: jax.Array) -> jax.Array:
        # Part j has the rows j, j + parts, ...: a device's share of the batch is cut where it is.
        return x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)

    def add(carry: Any, part: DeviceBatch) -> tuple[Any, None]:
        totals, model_state = carry
        gradients, (sums, model_state) = gradient(state.params, model_state, part)
        return (jax.tree.map(jnp.add, totals, (gradients, sums)), model_state), None

    part = jax.eval_shape(lambda: jax.tree.map(lambda x: cut(x)[0], examples))
    shapes, (sums_shapes, _) = jax.eval_shape(gradient, state.params, state.model_state, part)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (shapes, sums_shapes))
    carry = (zeros, state.model_state)
    ((gradients, sums), model_state), _ = jax.lax.scan(add, carry, jax.tree.map(cut, examples))
    return gradients, sums, model_state


def make_eval_logits(
    objective: Objective, *, use_ema: bool = False, ten_crop_pixels: int = 0
) -> EvalLogits:
    """Returns ``(state, batch) -> logits`` [batch, num_classes] in float32, without augmentation and dropout.

    Args:
      objective: What was learned.
      use_ema: Whether the moving average of the parameters is evaluated in their place.
      ten_crop_pixels: Size of the ten crops of each image whose probabilities are averaged; 0 for the image itself.
    """

    def eval_logits(state: TrainState, batch: DeviceBatch) -> jax.Array:
        params = state.ema_params if use_ema else state.params

        def logits_of(images: jax.Array) -> jax.Array:
            return objective.model.apply(params, state.model_state, images)[0]

        images = objective.transform(batch["image"])
        crop = functools.partial(ten_crop_logits, logits_of, size=ten_crop_pixels)
        return crop(images) if ten_crop_pixels else logits_of(images)

    return eval_logits


def make_eval_step(objective: Objective, eval_logits: EvalLogits) -> EvalStep:
    """Returns ``(state, batch) -> sums`` of ``metrics.batch_sums``, without label smoothing."""

    def eval_step(state: TrainState, batch: DeviceBatch) -> Sums:
        logits = eval_logits(state, batch)
        losses = cross_entropy(logits, batch["label"], 0.0, objective.smoothing_form)
        return objective.total(batch_sums(losses, logits, batch["label"], batch["mask"]))

    return eval_step
