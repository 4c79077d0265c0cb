"""Numbers that are not finite, and a loss that does not move: which step, which tensor, what to look at."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
from jax import numpy as jnp

from alexnet_jax.errors import RunError
from alexnet_jax.train.state import TrainState

ON_NONFINITE = ("stop", "rollback")

NONFINITE = "nonfinite"  # among a step's sums
STUCK_SHARE = 0.01  # so near to ln(classes), the loss of a network that tells nothing apart, whatever the targets
STUCK_STEPS = 50  # at least: an epoch of a few images says little


class NonFiniteError(RunError):
    """The loss, a gradient or the outcome of a step is not finite.

    Attributes:
      step: The first such step, from 1.
      tensor: Where: the parameter whose gradient it is, a part of the state, or "evaluation".
      what: That it is not finite, as a sentence.
      event: For ``metrics.jsonl``.
    """

    def __init__(self, step: int, tensor: str, what: str, when: str = ""):
        self.step, self.tensor, self.what = step, tensor, what
        self.event = {"event": NONFINITE, "nonfinite_step": step, "tensor": tensor}
        otherwise = "" if when else "; or set health.on_nonfinite='rollback'"
        super().__init__(
            f"step {step}{when}: {what}. No checkpoint was saved after it. "
            "Look at optimizer.learning_rate (lower it, or raise schedule.warmup_epochs), optimizer.clip_norm, the "
            f"precision (in float16 optimizer.loss_scale) and the data{otherwise}."
        )


def nonfinite_place(gradients: Any) -> jax.Array:
    """Returns 0 where all gradients are finite, or else the place of the last leaf that is not, from 1.

    The last in the network's order is where it began: from there it spreads backwards. A loss that is not finite makes
    every gradient so, from the classifier's on.
    """
    faults = jnp.stack([~_is_finite(leaf) for leaf in jax.tree.leaves(gradients)])
    return (faults * jnp.arange(1, len(faults) + 1)).max().astype(jnp.int32)


def _is_finite(x: jax.Array) -> jax.Array:
    """Returns whether all of ``x`` is finite: by a product, for which XLA's CPU compiler reads it once.

    Its factors are so small that the sums of finite numbers are finite.
    """
    rows = x.reshape(-1, x.shape[-1] if x.ndim else 1)
    tiny = jnp.full((1, rows.shape[0]), 2.0**-100, rows.dtype)
    return jnp.isfinite(tiny @ rows).all()


def check_step(step: int, sums: Mapping[str, Any], params: Any) -> None:
    """Checks the sums of one step, on the host.

    Float16's scaled losses may overflow: such a step is skipped, and counted, and no fault as long as that can help;
    its ``NONFINITE`` is 0.

    Raises:
      NonFiniteError: If the step's loss or gradients are not finite.
    """
    place = int(sums[NONFINITE])
    if place:
        path = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)][place - 1]
        tensor = jax.tree_util.keystr(path, simple=True, separator="/")
        loss = float(sums["loss"] / sums["count"])
        still = f"still {loss:.4g}" if math.isfinite(loss) else f"{loss}"
        what = f"the gradient of {tensor} is not finite; the loss is {still}"
        raise NonFiniteError(step, tensor, what)


def check_state(step: int, state: TrainState) -> None:
    """Checks what a step left, before it is evaluated or saved: finite gradients can have an update that is not.

    Only then, as it reads all of the state: after any other step the next one's gradients tell.

    Raises:
      NonFiniteError: If a parameter, a batch statistic or a number of the optimizer's state is not finite.
    """
    learned = {
        "params": state.params,
        "batch statistics": state.model_state,
        "optimizer state": state.optimizer_state,
        "moving average": state.ema_params,
    }
    leaves = [
        (path, leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(learned)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    place = int(_place([leaf for _, leaf in leaves]))
    if place:
        tensor = jax.tree_util.keystr(leaves[place - 1][0], simple=True, separator="/")
        tensor = tensor.removeprefix("params/")
        what = f"its update left numbers in {tensor} that are not finite, though the gradients are"
        raise NonFiniteError(step, tensor, what)


def check_evaluation(step: int, loss: float) -> None:
    """Checks the loss of an evaluation after a step, whose parameters may be finite and beyond all use.

    Raises:
      NonFiniteError: If it is not finite.
    """
    if not math.isfinite(loss):
        what = f"the loss of the evaluation after it is {loss}, though its gradients are finite"
        raise NonFiniteError(step, "evaluation", what)


_place = jax.jit(nonfinite_place)


@dataclasses.dataclass
class StuckLoss:
    """Watches for a loss that stays at that of a network that tells nothing apart.

    Attributes:
      num_classes: Of the classifier.
      first_epoch: Where the warm-up ends.
      epochs: For how long it stays there until it is told.
      since: The epoch since which the loss is there; None while it is not.
      told: Whether it was told.
    """

    num_classes: int
    first_epoch: float
    epochs: float = 1.0
    since: float | None = None
    told: bool = False

    def add(self, epoch: float, loss: float) -> str:
        """Takes the mean loss of a window up to ``epoch``; returns what to tell once it is stuck."""
        chance = math.log(self.num_classes)
        near = abs(loss - chance) < STUCK_SHARE * chance  # not where the loss is NaN
        if epoch < self.first_epoch or not near:
            self.since, self.told = None, self.told and near
            return ""
        self.since = epoch if self.since is None else self.since
        if self.told or epoch - self.since < self.epochs:
            return ""
        self.told = True
        return (
            f"since epoch {self.since:.3g} the loss has stayed at {loss:.4f}, as ln({self.num_classes}) = {chance:.4f} "
            "of a network that tells nothing apart"
        )


def dead_layers(features: Mapping[str, jax.Array]) -> list[str]:
    """Returns the hidden layers whose units are zero for every image of a batch.

    Args:
      features: Layer name -> activations [batch, ...], in the network's order.
    """
    return [name for name, values in features.items() if not bool(jnp.any(values != 0))]


def advice(dead: list[str]) -> str:
    """Returns what to look at when the loss is stuck."""
    if dead:
        return (
            f"every unit of {', '.join(dead)} is dead (zero for every image); lower optimizer.learning_rate, "
            "or train from the beginning with another seed"
        )
    return "no layer is dead; look at optimizer.learning_rate, the labels and the normalisation of the data"
