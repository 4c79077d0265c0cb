"""What a valid configuration is: one table a kind of rule, and the rules between settings."""

import functools
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

from ml_collections import ConfigDict

from alexnet_jax.config.defaults import default_config
from alexnet_jax.config.keys import all_keys, get
from alexnet_jax.data.decode import PROTOCOLS
from alexnet_jax.data.sources import SOURCES
from alexnet_jax.errors import Fault
from alexnet_jax.model.formulations import FORMULATIONS
from alexnet_jax.model.variants import VARIANTS, get_variant
from alexnet_jax.train.health import ON_NONFINITE
from alexnet_jax.train.loss_scale import MODES as LOSS_SCALE_MODES
from alexnet_jax.train.losses import SMOOTHING_FORMS
from alexnet_jax.train.optimizer import DECAY_MASKS
from alexnet_jax.train.parallel import STRATEGIES
from alexnet_jax.train.parts import DTYPES, image_size
from alexnet_jax.train.plateau import METRICS as PLATEAU_METRICS
from alexnet_jax.train.resident import SETTINGS as RESIDENT_SETTINGS
from alexnet_jax.train.schedules import SCHEDULES

MOST = 2**31 - 1  # of whole numbers: JAX's have 32 bits
MOST_PIXELS = 2**14  # of a side: 805 MB an image in a byte a channel

CROPS = ("none", "pad", "random", "random_resized")

CHOICES: dict[str, Iterable[str]] = {
    "model.variant": VARIANTS,
    "model.precision": ("auto", *DTYPES),
    "model.layers": ("auto", *FORMULATIONS),
    "data.source": SOURCES,
    "augment.crop": CROPS,
    "data.resident": RESIDENT_SETTINGS,
    "eval.protocol": PROTOCOLS,
    "optimizer.decay_mask": DECAY_MASKS,
    "optimizer.loss_scale": LOSS_SCALE_MODES,
    "optimizer.label_smoothing_form": SMOOTHING_FORMS,
    "schedule.name": SCHEDULES,
    "schedule.plateau_metric": PLATEAU_METRICS,
    "parallelism": ("auto", *STRATEGIES),
    "health.on_nonfinite": ON_NONFINITE,
}

AT_LEAST: dict[str, float] = {
    "batch_size": 1,
    "num_epochs": 1,
    "log_every_steps": 1,
    "eval_every_epochs": 0,
    "steps_per_dispatch": 0,
    "model.num_classes": 2,
    "data.num_threads": 0,
    "data.synthetic_examples": 1,
    "augment.crop_padding_pixels": 0,
    "optimizer.learning_rate": 0,
    "augment.pca_noise": 0,
    "augment.mixup_alpha": 0,
    "augment.cutmix_alpha": 0,
    "optimizer.weight_decay": 0,
    "optimizer.accumulate_steps": 1,
    "optimizer.clip_norm": 0,
    "optimizer.head_learning_rate_factor": 0,
    "optimizer.loss_scale_value": 1,
    "schedule.plateau_patience": 0,
    "schedule.plateau_min_learning_rate": 0,
    "schedule.warmup_epochs": 0,
    "checkpoint.every_epochs": 0,
    "checkpoint.every_steps": 0,
    "checkpoint.keep": 1,
    "checkpoint.max_failed_saves": 0,
    "health.max_rollbacks": 0,
    "health.stall_seconds": 0,
    "health.max_stall_seconds": 0,
    "published.images_per_second": 0,
}

FRACTIONS = (  # in [0, 1)
    "model.dropout_rate",
    "data.eval_fraction",
    "augment.color_jitter",
    "optimizer.momentum",
    "optimizer.label_smoothing",
    "optimizer.ema_decay",
    "schedule.plateau_factor",
    "schedule.plateau_threshold",
    "published.top1",
    "published.top5",
)

Rule = tuple[str, str, Callable[[Any], bool]]


def _are_numbers(values: tuple[Any, ...]) -> bool:
    """Returns whether a tuple, which a recipe can fill with anything, holds finite numbers alone."""
    return all(isinstance(value, int | float) and -math.inf < value < math.inf for value in values)


RULES: tuple[Rule, ...] = (
    # JAX draws from the low 32 bits alone: beyond them two seeds would begin with the same weights.
    ("seed", "a whole number from 0 to 4294967295", lambda v: 0 <= v < 2**32),
    ("health.rollback_factor", "a number in (0, 1]", lambda v: 0 < v <= 1),
    ("augment.flip_probability", "a number in [0, 1]", lambda v: 0 <= v <= 1),
    ("data.max_broken_fraction", "a number in [0, 1]", lambda v: 0 <= v <= 1),
    (
        "data.mean",
        "three numbers: R, G and B on the 0-1 scale",
        lambda v: len(v) == 3 and _are_numbers(v),
    ),
    (
        "data.std",
        "three numbers above 0: R, G and B on the 0-1 scale",
        lambda v: len(v) == 3 and _are_numbers(v) and min(v) > 0,
    ),
    (
        "augment.crop_area",
        "two fractions, 0 < low <= high <= 1",
        lambda v: len(v) == 2 and _are_numbers(v) and 0 < v[0] <= v[1] <= 1,
    ),
    (
        "augment.crop_aspect",
        "two ratios, 0 < low <= high",
        lambda v: len(v) == 2 and _are_numbers(v) and 0 < v[0] <= v[1],
    ),
    ("schedule.step_epochs", "a number above 0", lambda v: v > 0),
    ("schedule.step_factor", "a number in (0, 1]", lambda v: 0 < v <= 1),
    (
        "schedule.step_fractions",
        "fractions of the run",
        lambda v: _are_numbers(v) and all(0 < part < 1 for part in v),
    ),
    ("data.image_size", f"at most {MOST_PIXELS}", lambda v: v <= MOST_PIXELS),
    ("augment.crop_resize_pixels", f"at most {MOST_PIXELS}", lambda v: v <= MOST_PIXELS),
    # Beyond 292 years Python cannot wait.
    ("health.stall_seconds", f"at most {MOST}, or 0 for never", lambda v: v <= MOST),
    ("health.max_stall_seconds", f"at most {MOST}, or 0 for never", lambda v: v <= MOST),
)


def validate(config: ConfigDict) -> list[Fault]:
    """Returns everything wrong with a configuration; an empty list for a valid one."""
    if faults := none_faults(config):  # the other rules compare and calculate
        return faults
    faults = [*_choice_faults(config), *_range_faults(config)]
    if config.optimizer.nesterov and config.optimizer.momentum == 0:
        text = "optimizer.nesterov=True needs optimizer.momentum above 0."
        faults.append(Fault("optimizer.nesterov", text))
    if config.num_epochs < config.schedule.warmup_epochs < math.inf:
        text = (
            f"schedule.warmup_epochs={config.schedule.warmup_epochs} is longer than the run, "
            f"num_epochs={config.num_epochs}."
        )
        faults.append(Fault("schedule.warmup_epochs", text))
    if config.schedule.name == "plateau" and config.eval_every_epochs == 0:
        text = "schedule.name='plateau' follows the evaluations; use eval_every_epochs=1 or more."
        faults.append(Fault("eval_every_epochs", text))
    if config.eval.use_ema and config.optimizer.ema_decay == 0:
        text = "eval.use_ema=True needs an average; use e.g. optimizer.ema_decay=0.9999."
        faults.append(Fault("eval.use_ema", text))
    if config.model.num_classes is None and config.data.source == "synthetic":
        text = "model.num_classes=None takes the data's, but made data have none; say how many."
        faults.append(Fault("model.num_classes", text))
    if config.model.variant in VARIANTS:
        faults += [*_size_faults(config), *_freeze_faults(config)]
    return faults


def none_faults(config: ConfigDict) -> list[Fault]:
    """Returns what a recipe sets to None though it has no such meaning; nothing else can be asked of it then."""
    defaults = default_config()
    sections = [name for name, value in defaults.items() if isinstance(value, ConfigDict)]
    if missing := [name for name in sections if config[name] is None]:
        text = "{}=None is not possible; it is a section, set its keys."
        return [Fault(name, text.format(name)) for name in missing]
    return [
        Fault(key, f"{key}=None is not possible; the default is {get(defaults, key)!r}.")
        for key in all_keys(defaults)
        if key not in optional_keys() and get(config, key) is None
    ]


@functools.cache
def optional_keys() -> frozenset[str]:
    """Returns the keys of which None has a meaning: those whose default it is, and the data's number of classes."""
    defaults = default_config()
    unset = (key for key in all_keys(defaults) if get(defaults, key) is None)
    return frozenset(("model.num_classes", *unset))


def _choice_faults(config: ConfigDict) -> list[Fault]:
    return [
        Fault(key, f"{key}={get(config, key)!r} is unknown; use one of: {', '.join(choices)}.")
        for key, choices in CHOICES.items()
        if get(config, key) not in choices
    ]


def _range_faults(config: ConfigDict) -> list[Fault]:
    rules: list[Rule] = [
        *(
            (key, f"at least {least:g}", functools.partial(operator.le, least))
            for key, least in AT_LEAST.items()
        ),
        *((key, "a number in [0, 1)", lambda value: 0 <= value < 1) for key in FRACTIONS),
        *RULES,
        *_rules_of_every_number(),
    ]
    faults: dict[str, Fault] = {}  # one a key: its own rule says more than that of every number
    for key, rule, holds in rules:
        value = get(config, key)
        if value is not None and key not in faults and not holds(value):
            faults[key] = Fault(key, f"{key}={value} is not possible; use {rule}.")
    return list(faults.values())


def _rules_of_every_number() -> list[Rule]:
    def is_finite(value: Any) -> bool:
        return not isinstance(value, float) or math.isfinite(value)

    def is_countable(value: Any) -> bool:
        return not isinstance(value, int) or value <= MOST

    keys = [
        key for key in all_keys(default_config()) if key != "seed"
    ]  # which has 32 bits, all used
    finite: list[Rule] = [(key, "a finite number", is_finite) for key in keys]
    return finite + [(key, f"at most {MOST}", is_countable) for key in keys]


def _freeze_faults(config: ConfigDict) -> list[Fault]:
    layers, frozen = get_variant(config.model.variant).layer_names, config.optimizer.freeze
    text = ""
    if unknown := [str(name) for name in frozen if name not in layers]:
        text = (
            f"optimizer.freeze: {config.model.variant!r} has no layer {' or '.join(unknown)}; "
            f"its layers are: {', '.join(layers)}."
        )
    elif set(frozen) == set(layers):
        text = "optimizer.freeze names every layer, so nothing is left to train; leave one out."
    return [Fault("optimizer.freeze", text)] if text else []


def _size_faults(config: ConfigDict) -> list[Fault]:
    variant, size = get_variant(config.model.variant), image_size(config)
    least = variant.smallest_image_size()
    faults = []
    if size < least:
        text = f"data.image_size={size} is too small for {variant.name!r}; use at least {least}."
        faults.append(Fault("data.image_size", text))
    padding = config.augment.crop_padding_pixels
    if config.augment.crop == "pad" and padding >= size:
        text = (
            f"augment.crop_padding_pixels={padding} would let a crop be padding alone; use less than the {size} pixels "
            "of the network's input."
        )
        faults.append(Fault("augment.crop_padding_pixels", text))
    resized = {"eval.resize_pixels": config.eval.resize_pixels}
    if config.augment.crop == "random":
        resized["augment.crop_resize_pixels"] = config.augment.crop_resize_pixels
    for key, pixels in resized.items():
        derived = key == "eval.resize_pixels" and not pixels
        if not derived and pixels < size:
            text = (
                f"{key}={pixels} is less than the {size} pixels of the network's input; "
                f"use at least {size}."
            )
            faults.append(Fault(key, text))
    seen = config.eval.resize_pixels or size
    if seen > 2 * size:  # most of every image would be cut away, and the accuracy be of the rest
        text = (
            f"eval.resize_pixels={seen} leaves the network the middle {size} pixels of {seen}; use at most {2 * size}, "
            f"or 0 for 8/7 of its input, {round(size * 8 / 7)}."
        )
        faults.append(Fault("eval.resize_pixels", text))
    return faults
