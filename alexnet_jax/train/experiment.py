"""From a configuration to the parts of a run: the wiring, and the rules that need the data and the devices."""

import dataclasses
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from alexnet_jax.backend.capabilities import automatic_layers, automatic_precision, own_device
from alexnet_jax.data import decode, pipeline
from alexnet_jax.data.broken import BrokenImages
from alexnet_jax.data.checks import LEAST_CLASSES, find_problems
from alexnet_jax.data.indices import IndexSource, iterate_steps
from alexnet_jax.data.order import EvalOrder, TrainOrder
from alexnet_jax.data.sources import SOURCES
from alexnet_jax.data.sources.base import SPLITS, Source, SourceSettings
from alexnet_jax.errors import Fault
from alexnet_jax.model import functional
from alexnet_jax.model.variants import get_variant
from alexnet_jax.train import parts
from alexnet_jax.train import state as train_state
from alexnet_jax.train.agenda import Agenda
from alexnet_jax.train.checkpoint import Identity
from alexnet_jax.train.dispatch import make_train_steps
from alexnet_jax.train.optimizer import sgd
from alexnet_jax.train.parallel import STRATEGIES, Strategy
from alexnet_jax.train.plateau import Plateau
from alexnet_jax.train.resident import Resident, is_resident, unfit
from alexnet_jax.train.run_card import describe_devices
from alexnet_jax.train.schedules import MOST_STEPS
from alexnet_jax.train.state import TrainState
from alexnet_jax.train.steps import (
    DeviceBatch,
    Objective,
    make_eval_step,
    make_train_step,
)

Sources = dict[str, Source]

# The settings that must be sound before the data can be opened.
DATA_KEYS = frozenset(
    {
        "seed",
        "model.variant",
        "model.num_classes",
        "data.source",
        "data.path",
        "data.name",
        "data.train_split",
        "data.eval_split",
        "eval.protocol",
        "data.image_size",
        "data.eval_fraction",
        "data.synthetic_examples",
    }
)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A run, ready to start.

    Attributes:
      config: As it was resolved.
      devices: To run on.
      precision: To compute in, "auto" resolved.
      layers: Their formulation, "auto" resolved.
      parallelism: The strategy's name, "auto" resolved.
      parallelism_reason: Why "auto" chose it; empty where it did not choose.
      sources: The data by split.
      decoders: By split; None for arrays.
      broken: The unreadable images met so far, by split.
      resident: The splits whose images lie on the devices.
      train_order: Which examples make each training batch.
      eval_order: Which examples make each evaluation batch.
      strategy: How the steps are spread.
      objective: What is learned.
      train_step: Jitted; takes what ``place_batch`` makes of one of ``train_batches``.
      eval_step: Jitted.
      steps_per_dispatch: At most so many of them.
      agenda: What falls due at which step.
      plateau: Lowers the learning rate after evaluations; None for schedules of the step alone.
      identity: Of the model, for its checkpoints.
      initial_state: On the devices.
    """

    config: ConfigDict
    devices: list[jax.Device]
    precision: str
    layers: str
    parallelism: str
    parallelism_reason: str
    sources: Sources
    decoders: dict[str, decode.Decoder | None]
    broken: dict[str, BrokenImages]
    resident: dict[str, Resident]
    train_order: TrainOrder
    eval_order: EvalOrder
    strategy: Strategy
    objective: Objective
    train_step: Any
    eval_step: Any
    steps_per_dispatch: int
    agenda: Agenda
    plateau: Plateau | None
    identity: Identity
    initial_state: TrainState

    @property
    def total_steps(self) -> int:
        """Length of the run."""
        return self.agenda.total_steps

    def spans(self, start_step: int) -> Iterator[tuple[int, int]]:
        """Yields (steps done before, steps done after) of each dispatch from ``start_step`` to the last."""
        return self.agenda.spans(start_step, self.steps_per_dispatch)

    def train_batches(self, start_step: int) -> Generator[Any]:
        """Yields, on the host, this process's part of the batches of each dispatch from ``start_step`` to the last."""
        if "train" in self.resident:
            source, spans = IndexSource(self.sources["train"]), self.spans(start_step)
            return iterate_steps(source, self.train_order, spans, self.steps_per_dispatch)
        return self._batches("train", self.train_order, start_step, self.total_steps)

    def eval_batches(self) -> Iterator[DeviceBatch]:
        """Yields the batches of one evaluation, on the devices."""
        order = self.eval_order
        batches = self._batches("eval", order, 0, order.steps_per_epoch)
        return (self.place_batch("eval", batch) for batch in batches)

    def activations(self, state: TrainState) -> dict[str, jax.Array]:
        """Returns every layer's activations on the first evaluation batch, for a diagnosis; under "jit" only."""
        dtype = parts.DTYPES[self.precision]
        network = parts.create_model(self.config, dtype, self.strategy.placement, self.layers)
        model, _, _ = functional.split(network)
        batch = next(self.eval_batches())
        images = parts.build_transform(self.config, self.sources)(batch["image"])
        return model.bind(state.params, state.model_state).features(images)

    def place_batch(self, split: str, batch: Any) -> DeviceBatch:
        """Puts a split's batch on the devices; images that lie there already are gathered."""
        if split == "train" and split in self.resident:
            return self.resident[split].place_steps(batch)
        return self.resident.get(split, self.strategy).place_batch(batch)

    def _batches(
        self, split: str, order: TrainOrder | EvalOrder, start_step: int, stop_step: int
    ) -> Generator[pipeline.Batch]:
        source = self.sources[split]
        return pipeline.iterate(
            IndexSource(source) if split in self.resident else source,
            order,
            start_step=start_step,
            stop_step=stop_step,
            rows=self.strategy.rows(order.batch_size),
            decoder=self.decoders[split],
            seed=self.config.seed,
            num_threads=self.config.data.num_threads,
            broken=self.broken[split],
        )


def open_sources(config: ConfigDict, cache_dir: Path | None = None) -> Sources:
    """Opens both splits of the data.

    Args:
      config: Of the run.
      cache_dir: Where long listings may be kept; None for nowhere.

    Raises:
      RequestError: If the data are missing or damaged.
    """
    settings = SourceSettings(
        path=config.data.path,
        image_size=parts.image_size(config),
        num_classes=config.model.num_classes,
        synthetic_examples=config.data.synthetic_examples,
        seed=config.seed,
        name=config.data.name,
        train_split=config.data.train_split,
        eval_split=config.data.eval_split,
        eval_protocol=config.eval.protocol,
        eval_fraction=config.data.eval_fraction,
        cache_dir=str(cache_dir or ""),
    )
    return {split: SOURCES[config.data.source](settings, split) for split in SPLITS}


def settle_classes(config: ConfigDict, sources: Sources) -> None:
    """Sets a ``model.num_classes`` of None to the data's."""
    if config.model.num_classes is None:
        config.model.num_classes = sources["train"].num_classes


def data_faults(config: ConfigDict, sources: Sources) -> list[Fault]:
    """Returns what does not fit between the configuration and the data."""
    faults = []
    train = sources["train"]
    if train.num_classes >= LEAST_CLASSES and config.model.num_classes != train.num_classes:
        text = (
            f"model.num_classes={config.model.num_classes}, but the data have {train.num_classes} classes; "
            f"use --config.model.num_classes={train.num_classes}."
        )
        faults.append(Fault("model.num_classes", text))
    if config.batch_size > len(train):
        text = (
            f"batch_size={config.batch_size} is larger than the {len(train)} training examples; "
            f"use at most {len(train)}."
        )
        faults.append(Fault("batch_size", text))
    faults += _length_faults(config, len(train))
    if config.data.resident == "true" and (reason := unfit(sources)):
        text = f"data.resident='true' is not possible: {reason}, or use 'auto'."
        faults.append(Fault("data.resident", text))
    if config.steps_per_dispatch > 1 and (config.data.resident == "false" or unfit(sources)):
        text = (
            f"steps_per_dispatch={config.steps_per_dispatch} needs the data on the device: "
            f"{unfit(sources) or 'data.resident is false'}, or use 0 or 1."
        )
        faults.append(Fault("steps_per_dispatch", text))
    return faults + [Fault("data", text) for text in find_problems(sources)]


def _length_faults(config: ConfigDict, examples: int) -> list[Fault]:
    """Returns what is wrong with the number of steps, which only the data tell; nothing of faulty settings."""
    steps = examples // config.batch_size if config.batch_size > 0 else 0
    if config.num_epochs * steps <= MOST_STEPS:
        return []
    text = (
        f"num_epochs={config.num_epochs} of {steps} steps each are {config.num_epochs * steps} steps, and a run can "
        f"have {MOST_STEPS}; use at most {MOST_STEPS // steps}, or a larger batch_size."
    )
    return [Fault("num_epochs", text)]


def device_faults(config: ConfigDict, device_count: int) -> list[Fault]:
    """Returns what does not fit between the configuration and the devices."""
    parts = device_count * max(config.optimizer.accumulate_steps, 1)
    if config.batch_size % parts == 0:
        return []
    below = config.batch_size // parts * parts
    choices = " or ".join(str(size) for size in (below, below + parts) if size)
    where = f"{device_count} devices"
    if config.optimizer.accumulate_steps > 1:
        where += f" and optimizer.accumulate_steps={config.optimizer.accumulate_steps}"
    text = f"batch_size={config.batch_size} cannot be split over {where}; use {choices}."
    return [Fault("batch_size", text)]


def build(
    config: ConfigDict,
    sources: Sources,
    devices: list[jax.Device],
    *,
    resident: dict[str, Resident] | None = None,
) -> Experiment:
    """Builds a run from a valid configuration, its data and its devices.

    Args:
      config: Without faults.
      sources: By split.
      devices: To train on.
      resident: The data on these devices, where another run has placed them; None to place them if they are to be.
    """
    precision = config.model.precision
    if precision == "auto":
        precision = automatic_precision(own_device(devices), parts.DTYPES)
    layers = config.model.layers
    if layers == "auto":
        layers = automatic_layers(own_device(devices))
    train_order = TrainOrder(len(sources["train"]), config.batch_size, config.seed)
    # Evaluation pads, so its batch can always be split: round up to the devices.
    eval_batch_size = -(-config.batch_size // len(devices)) * len(devices)
    schedule = parts.schedule(config, train_order.steps_per_epoch)
    optimizer = sgd(
        schedule,
        momentum=config.optimizer.momentum,
        nesterov=config.optimizer.nesterov,
        weight_decay=config.optimizer.weight_decay,
        decay_mask=config.optimizer.decay_mask,
        clip_norm=config.optimizer.clip_norm or None,
        frozen=tuple(config.optimizer.freeze),
        factors=parts.learning_rate_factors(config),
    )
    parallelism, reason = parts.parallelism(config, len(devices), parts.DTYPES[precision])
    strategy = STRATEGIES[parallelism](devices, get_variant(config.model.variant))
    loss_scaling, plateau = parts.loss_scaling(config, precision), parts.plateau(config)
    # Drawn on the CPU: the same numbers on every platform.
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        dtype = parts.DTYPES[precision]
        network = parts.create_model(config, dtype, strategy.placement, layers)
        model, params, model_state = functional.split(network)
        state = train_state.create(
            params,
            model_state,
            optimizer,
            ema=config.optimizer.ema_decay > 0,
            loss_scaling=loss_scaling,
            plateau=plateau,
        )
    on_device = is_resident(config.data.resident, sources, devices)
    agenda = parts.agenda(config, train_order.steps_per_epoch)
    objective = Objective(
        model=model,
        transform=parts.build_transform(config, sources),
        label_smoothing=config.optimizer.label_smoothing,
        smoothing_form=config.optimizer.label_smoothing_form,
        total=strategy.total,
        mixing=parts.mixing(config),
        neighbour=strategy.neighbour,
    )
    train_step = make_train_step(
        objective,
        optimizer,
        schedule,
        config.seed,
        accumulate_steps=config.optimizer.accumulate_steps,
        loss_scaling=loss_scaling,
        ema_decay=config.optimizer.ema_decay,
        frozen=tuple(config.optimizer.freeze),
    )
    return Experiment(
        config=config,
        devices=devices,
        precision=precision,
        layers=layers,
        parallelism=parallelism,
        parallelism_reason=reason,
        sources=sources,
        decoders=parts.decoders(config, sources),
        broken={
            split: BrokenImages(split, len(source), config.data.max_broken_fraction)
            for split, source in sources.items()
        },
        resident=resident
        if resident is not None
        else {split: Resident(source, strategy) for split, source in sources.items() if on_device},
        train_order=train_order,
        eval_order=EvalOrder(len(sources["eval"]), eval_batch_size),
        strategy=strategy,
        objective=objective,
        train_step=(
            strategy.train_steps(make_train_steps(train_step), state)
            if on_device
            else strategy.train_step(train_step, state)
        ),
        eval_step=strategy.eval_step(
            make_eval_step(objective, parts.eval_logits(config, objective)), state
        ),
        steps_per_dispatch=parts.steps_per_dispatch(
            config, own_device(devices), agenda, resident=on_device
        ),
        agenda=agenda,
        plateau=plateau,
        identity=Identity(
            variant=config.model.variant,
            num_classes=config.model.num_classes,
            image_size=parts.image_size(config),
            device=describe_devices(devices),
        ),
        initial_state=strategy.place_state(state),
    )
