"""From settings to the parts of a run, one function a part."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from jax import numpy as jnp
from ml_collections import ConfigDict

from alexnet_jax.backend.capabilities import is_cpu
from alexnet_jax.data import decode
from alexnet_jax.data.sources.base import SPLITS, InMemory, Source
from alexnet_jax.model import alexnet
from alexnet_jax.model.placement import Placement
from alexnet_jax.model.variants import get_variant
from alexnet_jax.train import traffic
from alexnet_jax.train.agenda import Agenda
from alexnet_jax.train.augment import Augmentation, Normalization, Transform
from alexnet_jax.train.crop import RandomResizedCrop, View
from alexnet_jax.train.dispatch import AUTOMATIC_STEPS
from alexnet_jax.train.loss_scale import LossScaling
from alexnet_jax.train.mixing import Mixing
from alexnet_jax.train.plateau import Plateau
from alexnet_jax.train.schedules import SCHEDULES, Schedule, ScheduleSettings
from alexnet_jax.train.steps import (
    EvalLogits,
    Objective,
    make_eval_logits,
)

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}


def image_size(config: ConfigDict) -> int:
    """Returns the height and width of the network's input, in pixels."""
    pixels = config.data.image_size
    return get_variant(config.model.variant).image_size if pixels is None else pixels


def eval_resize_pixels(config: ConfigDict) -> int:
    """Returns what the protocol resizes to before it crops, in pixels."""
    size = image_size(config)
    pixels = config.eval.resize_pixels
    if pixels is None:
        pixels = 0 if config.eval.protocol == "ten_crop" else size
    return pixels or round(size * 8 / 7)


def create_model(
    config: ConfigDict, dtype: Any, placement: Placement, layers: str
) -> alexnet.AlexNet:
    """Builds the configuration's network, computing in ``dtype``, placed by a strategy, of formulation ``layers``."""
    return alexnet.create(
        config.model.variant,
        num_classes=config.model.num_classes,
        image_size=image_size(config),
        dropout_rate=config.model.dropout_rate,
        dtype=dtype,
        seed=config.seed,
        frozen=tuple(config.optimizer.freeze),
        placement=placement,
        layers=layers,
    )


def parallelism(config: ConfigDict, device_count: int, dtype: Any) -> tuple[str, str]:
    """Returns the strategy's name, and the reason where it was chosen automatically."""
    if config.parallelism != "auto":
        return config.parallelism, ""
    sent = traffic.predicted_bytes(
        config.model.variant,
        num_classes=config.model.num_classes,
        image_size=image_size(config),
        batch_size=config.batch_size,
        device_count=device_count,
        activation_bytes=jnp.dtype(dtype).itemsize,
    )
    figures = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sent.items())
    return traffic.choose(sent), f"each device would send, a step: {figures}; the least is taken"


def schedule(config: ConfigDict, steps_per_epoch: int) -> Schedule:
    """Returns the learning rate by step."""
    settings = ScheduleSettings(
        learning_rate=config.optimizer.learning_rate,
        steps_per_epoch=steps_per_epoch,
        num_epochs=config.num_epochs,
        warmup_epochs=config.schedule.warmup_epochs,
        step_epochs=config.schedule.step_epochs,
        step_factor=config.schedule.step_factor,
        step_fractions=tuple(config.schedule.step_fractions),
        cosine_per_epoch=config.schedule.cosine_per_epoch,
        cosine_from_start=config.schedule.cosine_from_start,
    )
    return SCHEDULES[config.schedule.name](settings)


def learning_rate_factors(config: ConfigDict) -> dict[str, float]:
    """Returns what the learning rates of single layers are multiplied by."""
    factor = config.optimizer.head_learning_rate_factor
    head = get_variant(config.model.variant).dense_names[-1]
    return {} if factor == 1 else {head: factor}


def plateau(config: ConfigDict) -> Plateau | None:
    """Returns what lowers the learning rate after evaluations; None for schedules of the step alone."""
    if config.schedule.name != "plateau":
        return None
    return Plateau(
        learning_rate=config.optimizer.learning_rate,
        metric=config.schedule.plateau_metric,
        factor=config.schedule.plateau_factor,
        patience=config.schedule.plateau_patience,
        threshold=config.schedule.plateau_threshold,
        min_learning_rate=config.schedule.plateau_min_learning_rate,
    )


def agenda(config: ConfigDict, steps_per_epoch: int) -> Agenda:
    """Returns what falls due at which step."""
    return Agenda(
        total_steps=config.num_epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        log_every_steps=config.log_every_steps,
        eval_every_epochs=config.eval_every_epochs,
        save_every_epochs=config.checkpoint.every_epochs,
        save_every_steps=config.checkpoint.every_steps,
    )


def steps_per_dispatch(
    config: ConfigDict, device: jax.Device, agenda: Agenda, *, resident: bool
) -> int:
    """Returns the most steps of a dispatch: one where batches come from the host, whatever is asked for.

    By itself one on a CPU too, where a step can take seconds and XLA compiles convolutions in a loop badly. Not more
    than lie between two training records, as nothing falls due inside a dispatch, and room is made for all of them.
    """
    if not resident:
        return 1
    wanted = config.steps_per_dispatch or (1 if is_cpu(device) else AUTOMATIC_STEPS)
    return min(wanted, agenda.log_every_steps, agenda.total_steps)


def loss_scaling(config: ConfigDict, precision: str) -> LossScaling | None:
    """Returns the loss scaling that the settings and the precision ask for; None for none."""
    mode = config.optimizer.loss_scale
    if mode == "auto":
        mode = "dynamic" if precision == "float16" else "none"
    if mode == "none":
        return None
    return LossScaling(initial=config.optimizer.loss_scale_value, dynamic=mode == "dynamic")


def eval_logits(config: ConfigDict, objective: Objective) -> EvalLogits:
    """Returns the network's evaluation under the protocol."""
    if config.eval.protocol != "ten_crop":
        return make_eval_logits(objective, use_ema=config.eval.use_ema)
    pixels, transform = eval_resize_pixels(config), objective.transform
    view = None if transform.view is None else View(pixels, pixels, squash=False)
    whole = dataclasses.replace(transform, image_size=pixels, view=view)
    return make_eval_logits(
        dataclasses.replace(objective, transform=whole),
        use_ema=config.eval.use_ema,
        ten_crop_pixels=image_size(config),
    )


def build_transform(config: ConfigDict, sources: Mapping[str, Source]) -> Transform:
    """Returns what the configuration does to these data on the device."""
    return device_transform(config, arrays=isinstance(sources["train"], InMemory))


def device_transform(config: ConfigDict, *, arrays: bool = False) -> Transform:
    """Returns what happens on the device; encoded images are cropped and resized when the host decodes them."""
    padded, cropped = config.augment.crop == "pad", config.augment.crop == "random"
    size = image_size(config)
    crop = RandomResizedCrop(tuple(config.augment.crop_area), tuple(config.augment.crop_aspect))
    resized = size if config.eval.resize_pixels is None else eval_resize_pixels(config)
    view = View(resized, size, config.eval.protocol == "squash")
    return Transform(
        image_size=size,
        normalization=Normalization(tuple(config.data.mean), tuple(config.data.std)),
        augmentation=Augmentation(
            pad_crop_pixels=config.augment.crop_padding_pixels if padded else 0,
            random_crop=(config.augment.crop_resize_pixels, size) if cropped else None,
            flip_probability=config.augment.flip_probability,
            color_jitter=config.augment.color_jitter,
            crop=crop if arrays and config.augment.crop == "random_resized" else None,
            pca_noise=config.augment.pca_noise,
        ),
        view=view if arrays else None,
    )


def mixing(config: ConfigDict) -> Mixing | None:
    """Returns how training examples are mixed; None for none."""
    alphas = (config.augment.mixup_alpha, config.augment.cutmix_alpha)
    return Mixing(*alphas) if any(alphas) else None


def decoders(config: ConfigDict, sources: Mapping[str, Source]) -> dict[str, decode.Decoder | None]:
    """Returns what decodes encoded images, by split; None for sources of arrays."""
    if isinstance(sources["train"], InMemory):
        return dict.fromkeys(SPLITS)
    size, resized = image_size(config), eval_resize_pixels(config)
    crops = {
        "random": decode.center(
            config.augment.crop_resize_pixels, config.augment.crop_resize_pixels
        ),
        "random_resized": decode.random_resized_crop(
            size, tuple(config.augment.crop_area), tuple(config.augment.crop_aspect)
        ),
    }
    without = decode.squash if config.eval.protocol == "squash" else decode.center
    return {
        "train": crops.get(config.augment.crop) or without(resized, size),
        "eval": decode.PROTOCOLS[config.eval.protocol](resized, size),
    }
