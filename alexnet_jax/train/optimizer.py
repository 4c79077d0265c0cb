"""Stochastic gradient descent with momentum and L2 weight decay, as all our sources use it."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

import jax
import optax

from alexnet_jax.train.schedules import Schedule

Mask = Callable[[Any], Any]


def no_bias(params: Any) -> Any:
    """Marks kernels: everything but biases and the scales of normalisations."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def everything(params: Any) -> Any:
    """Marks every parameter."""
    return jax.tree.map(lambda _: True, params)


DECAY_MASKS: dict[str, Mask] = {"all": everything, "no_bias": no_bias}


def sgd(
    schedule: Schedule,
    *,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    decay_mask: str,
    clip_norm: float | None = None,
    frozen: Collection[str] = (),
    factors: Mapping[str, float] = MappingProxyType({}),
) -> optax.GradientTransformation:
    """Returns PyTorch's SGD.

    ``g = gradient + weight_decay * p; v = momentum * v + g; p -= learning_rate * v`` (with Nesterov
    ``p -= learning_rate * (g + momentum * v)``): the decay joins the gradient before the momentum, the learning rate
    comes after it.

    Args:
      schedule: The learning rate by step.
      momentum: In [0, 1).
      nesterov: Whether to look ahead.
      weight_decay: L2 coefficient.
      decay_mask: Which parameters decay, a key of ``DECAY_MASKS``.
      clip_norm: What a larger norm of all gradients together is shrunk to, before the decay joins; None for never.
      frozen: Layers that get updates of zero, whatever their gradients; they have no momentum.
      factors: Layer -> what its learning rate is multiplied by.
    """
    rule = optax.chain(
        optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm),
        optax.add_decayed_weights(weight_decay, DECAY_MASKS[decay_mask]),
        optax.sgd(schedule, momentum=momentum, nesterov=nesterov),
        *(optax.masked(optax.scale(factor), in_layers([name])) for name, factor in factors.items()),
    )
    if not frozen:
        return rule
    return optax.chain(
        optax.masked(rule, in_layers(frozen, inside=False)),
        optax.masked(optax.set_to_zero(), in_layers(frozen)),
    )


def in_layers(names: Collection[str], *, inside: bool = True) -> Mask:
    """Returns the mask that marks the parameters of these layers, or of all the others."""

    def mask(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: (path[0].key in names) == inside, params
        )

    return mask
