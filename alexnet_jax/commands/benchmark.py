"""Measures how fast a training step is, how fast its input, or both and which of them limits."""

import argparse
import json
import math
import os
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from alexnet_jax.backend.activate import activate
from alexnet_jax.backend.capabilities import is_cpu
from alexnet_jax.config import default_config, validate
from alexnet_jax.data.sources import SOURCES
from alexnet_jax.data.sources.folder import FolderSource
from alexnet_jax.errors import RequestError
from alexnet_jax.model.formulations import FORMULATIONS
from alexnet_jax.model.variants import get_variant, variants
from alexnet_jax.options import AT_LEAST_ONE, Rules, number_faults, refuse
from alexnet_jax.train import (
    experiment,
    input_speed,
    limits,
    parts,
    peer_tf_data,
    peer_torch,
    resident,
    speed,
)
from alexnet_jax.train.parallel import STRATEGIES
from alexnet_jax.train.run_card import device_name
from alexnet_jax.train.timing import median_seconds

EXAMPLE = """examples:
  python -m alexnet_jax benchmark step --variant torchvision --batch-size 64 --against torch
  python -m alexnet_jax benchmark all --source packed --path DIR"""
STEP_DESCRIPTION = """\
The training step, repeated on a batch that stays on the devices; with the bytes each device sends in it, and the
share that the step reaches of the rate of a large matrix product, measured in the same call."""
STEP_EXAMPLE = "example: python -m alexnet_jax benchmark step --parallelism hybrid --batch-size 256"
INPUT_DESCRIPTION = """\
Images from the data set to the network, on one device. Of --variant only the input's size is taken; --parallelism says
how a batch is placed; reading, decoding and augmenting do not depend on --precision."""
INPUT_EXAMPLE = "example: python -m alexnet_jax benchmark input --source folder --path DIR"
ALL_DESCRIPTION = """\
Storage, decoding, gathering, transfer, augmentation and the step, each alone, and a run of them all; then what
limits the run, and what would lift the limit."""
ALL_EXAMPLE = "example: python -m alexnet_jax benchmark all --source packed --path DIR"
ENDLESS_EPOCHS = 10_000  # measuring ends with the time, not with the data
TF_DATA_TURNS = 3

# What no setting of a configuration stands for: the others are checked with it.
NUMBERS: Rules = {
    "steps": AT_LEAST_ONE,
    "devices": AT_LEAST_ONE,
    "seconds": ("a number above 0", lambda value: 0 < value < math.inf),
}


def main(arguments: Sequence[str]) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_jax benchmark",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    step_only = kinds.add_parser(
        "step",
        help="the training step on a batch that stays there",
        description=STEP_DESCRIPTION,
        epilog=STEP_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_network(step_only)
    _add_step(step_only)
    step_only.add_argument("--devices", type=int, help="how many; default: all")
    step_only.add_argument("--compile-only", action="store_true", help="bytes only, no times")
    step_only.add_argument("--against", choices=("torch",), help="PyTorch's step, in turns")
    input_only = kinds.add_parser(
        "input",
        help="images from the data set to the network",
        description=INPUT_DESCRIPTION,
        epilog=INPUT_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_network(input_only)
    _add_input(input_only)
    input_only.add_argument("--against", choices=("tf.data",), help="its pipeline, in turns")
    both = kinds.add_parser(
        "all",
        help="both, a run of them, and what limits it",
        description=ALL_DESCRIPTION,
        epilog=ALL_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_network(both)
    _add_step(both)
    _add_input(both)
    for kind in (step_only, input_only, both):
        kind.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)
    refuse(number_faults(options, NUMBERS))
    figures, notes = KINDS[options.kind](options)
    table = _table({"device": device_name(jax.devices()[0]), **figures})
    print(json.dumps(figures) if options.json else "\n".join([table, *notes]))
    return 0


def _add_network(parser: argparse.ArgumentParser) -> None:
    precisions = ("auto", *parts.DTYPES)
    parser.add_argument("--variant", default="torchvision", help=f"one of: {', '.join(variants())}")
    parser.add_argument("--batch-size", type=int, default=64, help="global; default: 64")
    parser.add_argument(
        "--precision", choices=precisions, default="auto", help="as model.precision; default: auto"
    )
    parser.add_argument(
        "--parallelism",
        choices=("auto", *STRATEGIES),
        default="jit",
        help="how devices share a step; default: jit",
    )


def _add_step(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--layers",
        choices=("auto", *FORMULATIONS),
        default="auto",
        help="as model.layers; default: auto",
    )
    parser.add_argument("--steps", type=int, default=10, help="timed steps; default: 10")
    parser.add_argument(
        "--floors",
        action="store_true",
        help="the least times by arithmetic and by bandwidth, in JSON",
    )


def _add_input(parser: argparse.ArgumentParser) -> None:
    data = default_config().data
    parser.add_argument("--source", default="folder", help=f"one of: {', '.join(SOURCES)}")
    parser.add_argument("--path", default=data.path, help="directory of the data")
    parser.add_argument("--name", default=data.name, help="of tfds")
    parser.add_argument(
        "--eval-fraction", type=float, default=data.eval_fraction, help="of class folders alone"
    )
    parser.add_argument("--num-threads", type=int, default=data.num_threads, help="that decode")
    parser.add_argument("--color-jitter", type=float, default=0.0, help="ImageNet's recipe: 0.4")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each part; default: 3")


def step(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Returns the figures of the training step.

    Raises:
      RequestError: If the backend does not start, the request does not fit its devices or the variant, or the peer is
        missing.
    """
    if options.devices is not None:
        jax.config.update("jax_num_cpu_devices", options.devices)  # of a CPU, as many as asked for
    devices = activate("auto")
    count = len(devices) if options.devices is None else options.devices
    if count > len(devices):
        raise RequestError(f"--devices {count}: there are {len(devices)}.")
    config = _step_config(options)
    config.data.source, config.data.synthetic_examples = "synthetic", options.batch_size
    config.data.resident = "false"  # a batch that stays there is placed as one from the host
    config.num_epochs = 1
    refuse([*validate(config), *experiment.device_faults(config, count)])
    run = experiment.build(config, experiment.open_sources(config), devices[:count])
    beside = {"torch": _torch_step(run)} if options.against else {}
    batch = run.strategy.place_batch(next(run.train_batches(0)))
    steps = 0 if options.compile_only else options.steps
    floors = options.floors or not options.json
    return speed.measure_step(run, batch, steps=steps, floors=floors, beside=beside), []


def measure_input(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Returns the figures of the input: random resized crops, flipped, as ImageNet's recipes have them.

    Raises:
      RequestError: If the backend does not start, the data are missing or damaged, or the peer is missing.
    """
    config = default_config()
    config.data.image_size = get_variant(options.variant).image_size
    config.batch_size = options.batch_size
    config.model.variant = "cifar32"  # never run, and quickly built
    config.model.precision, config.parallelism = options.precision, options.parallelism
    run, transform = _input_run(config, options, activate("auto")[:1])
    if options.against:
        _tf_data(run)  # what is missing is said before anything is measured
    figures = input_speed.measure_input(run, transform, seconds=options.seconds)
    if options.against:
        figures |= _against_tf_data(run, options.seconds)
    return figures, []


def measure_all(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Returns the figures of the input, of the step on these data, of a run, and what limits it.

    Raises:
      RequestError: If the backend does not start, the data are missing or damaged, or the request does not fit the
        devices or the variant.
    """
    config, devices = _step_config(options), activate("auto")
    run, transform = _input_run(config, options, devices)
    figures = input_speed.measure_input(run, transform, seconds=options.seconds)
    batch = run.place_batch("train", input_speed.first_batch(run))
    training = speed.Training(run, batch)
    calls = {"step": lambda: jax.block_until_ready(training.step(batch))}
    seconds = median_seconds(calls, options.steps)["step"]
    floors = options.floors or not options.json
    figures |= speed.step_figures(run, training, seconds, floors=floors)
    figures["end_to_end"] = training.images_per_second(options.seconds)
    figures["limit"] = limits.name_limit(figures)
    processors = os.cpu_count() or 1
    lifts = limits.remedies(
        figures,
        threads=run.config.data.num_threads or processors,
        processors=processors,
        fits_device=not resident.unfit(run.sources)
        and resident.is_resident("auto", run.sources, devices),
    )
    return figures, [
        f"would lift it:  {lifts[0]}",
        *(f"                {more}" for more in lifts[1:]),
    ]


KINDS: dict[str, Callable[[argparse.Namespace], tuple[dict[str, Any], list[str]]]] = {
    "step": step,
    "input": measure_input,
    "all": measure_all,
}


def _step_config(options: argparse.Namespace) -> ConfigDict:
    config = default_config()
    config.model.variant = options.variant
    config.model.num_classes = get_variant(options.variant).num_classes
    config.model.precision, config.model.layers = options.precision, options.layers
    config.batch_size = options.batch_size
    config.parallelism = options.parallelism
    config.augment.flip_probability = 0.5
    return config


def _input_run(
    config: ConfigDict, options: argparse.Namespace, devices: list[jax.Device]
) -> tuple[experiment.Experiment, Any]:
    """Builds a run on the data asked for, from the host, and what happens to its images on the device."""
    data, augment = config.data, config.augment
    data.source, data.path, data.name = options.source, options.path, options.name
    data.eval_fraction = options.eval_fraction
    data.num_threads = options.num_threads
    data.resident = "false"  # what is measured is the way from the host
    data.synthetic_examples = 16 * config.batch_size
    config.eval_every_epochs, config.log_every_steps = 0, 10**9
    augment.crop, augment.flip_probability = "random_resized", 0.5
    augment.color_jitter = options.color_jitter
    faults = validate(config)
    if not faults:
        sources = experiment.open_sources(config)
        config.model.num_classes = sources["train"].num_classes
        faults = experiment.data_faults(config, sources)
        faults += experiment.device_faults(config, len(devices))
    refuse(faults)
    config.num_epochs = ENDLESS_EPOCHS  # more steps than a run can have, perhaps; none is trained
    return experiment.build(config, sources, devices), parts.build_transform(config, sources)


def _torch_step(run: experiment.Experiment) -> Callable[[], None]:
    return peer_torch.training_step(
        get_variant(run.config.model.variant),
        image_size=parts.image_size(run.config),
        num_classes=run.config.model.num_classes,
        batch_size=run.config.batch_size,
        precision=run.precision,
        on_gpu=not is_cpu(run.devices[0]),
    )


def _tf_data(run: experiment.Experiment) -> Any:
    source = run.sources["train"]
    if not isinstance(source, FolderSource):
        raise RequestError("--against tf.data reads JPEG files; use it with --source folder.")
    peer = peer_tf_data.batches(
        [source.describe(index) for index in range(len(source))],
        batch_size=run.config.batch_size,
        size=parts.image_size(run.config),
        area=tuple(run.config.augment.crop_area),
        aspect=tuple(run.config.augment.crop_aspect),
        threads=run.config.data.num_threads or os.cpu_count() or 1,
        antialias=True,
    )
    next(peer)
    return peer


def _against_tf_data(run: experiment.Experiment, seconds: float) -> dict[str, float]:
    """Returns the medians of batches on the host, ours and tf.data's in turns; neither loads ahead in the other's."""
    ours, theirs = [], []
    for _ in range(TF_DATA_TURNS):
        ours.append(input_speed.host_batches(run, seconds))
        theirs.append(peer_tf_data.rates(_tf_data(run), run.config.batch_size, seconds))
    (rate, cpu), (peer_rate, peer_cpu) = (
        [statistics.median(values) for values in zip(*turns, strict=True)]
        for turns in (ours, theirs)
    )
    return {
        "host": rate,
        "tf_data": peer_rate,
        "times_tf_data_per_cpu_second": peer_cpu / cpu,
    }


def _table(figures: dict[str, Any]) -> str:
    width = max(map(len, figures))
    return "\n".join(f"{name:<{width}}  {_text(value)}" for name, value in figures.items())


def _text(value: Any) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value
