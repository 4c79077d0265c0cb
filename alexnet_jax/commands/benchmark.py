"""Measures how fast a training step is and how many bytes it moves between devices; or how fast its input is."""

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from alexnet_jax.config import default_config, validate
from alexnet_jax.data.sources import SOURCES
from alexnet_jax.errors import RequestError
from alexnet_jax.model.variants import get_variant, variants
from alexnet_jax.train import experiment, input_speed, parts, speed
from alexnet_jax.train.parallel import STRATEGIES

EXAMPLE = "example: python -m alexnet_jax benchmark step --variant torchvision --batch-size 64"


def main(arguments: Sequence[str]) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_jax benchmark", description=__doc__, epilog=EXAMPLE
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    _add_step(
        kinds.add_parser("step", help="the training step on a batch that stays on the devices")
    )
    _add_input(
        kinds.add_parser("input", help="images from the data set to the network, part by part")
    )
    options = parser.parse_args(arguments)
    figures = KINDS[options.kind](options)
    print(json.dumps(figures) if options.json else _table(figures))
    return 0


def _add_step(parser: argparse.ArgumentParser) -> None:
    precisions = ("auto", *parts.DTYPES)
    parser.add_argument("--variant", default="torchvision", help=f"one of: {', '.join(variants())}")
    parser.add_argument("--batch-size", type=int, default=64, help="global; default: 64")
    parser.add_argument("--precision", choices=precisions, default="auto")
    parser.add_argument("--parallelism", choices=("auto", *STRATEGIES), default="jit")
    parser.add_argument("--devices", type=int, help="how many; default: all")
    parser.add_argument("--steps", type=int, default=10, help="timed steps; default: 10")
    parser.add_argument("--compile-only", action="store_true", help="bytes only, no times")
    parser.add_argument("--json", action="store_true", help="for programs")


def step(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the figures of the training step.

    Raises:
      RequestError: If the request does not fit the devices or the variant.
    """
    if options.devices is not None:
        jax.config.update("jax_num_cpu_devices", options.devices)  # of a CPU, as many as asked for
    devices = jax.devices()
    count = len(devices) if options.devices is None else options.devices
    if count > len(devices):
        raise RequestError(f"--devices {count}: there are {len(devices)}.")
    config = _config(options)
    faults = [*validate(config), *experiment.device_faults(config, count)]
    if faults:
        raise RequestError("\n".join(fault.text for fault in faults))
    run = experiment.build(config, experiment.open_sources(config), devices[:count])
    batch = run.strategy.place_batch(next(run.train_batches(0)))
    return speed.measure_step(run, batch, steps=0 if options.compile_only else options.steps)


def _add_input(parser: argparse.ArgumentParser) -> None:
    data = default_config().data
    parser.add_argument("--source", default="folder", help=f"one of: {', '.join(SOURCES)}")
    parser.add_argument("--path", default=data.path, help="directory of the data")
    parser.add_argument("--name", default=data.name, help="of tfds")
    parser.add_argument("--variant", default="torchvision", help="whose input size is taken")
    parser.add_argument("--batch-size", type=int, default=64, help="default: 64")
    parser.add_argument("--num-threads", type=int, default=data.num_threads, help="that decode")
    parser.add_argument("--color-jitter", type=float, default=0.0, help="ImageNet's recipe: 0.4")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each part; default: 3")
    parser.add_argument("--json", action="store_true", help="for programs")


def measure_input(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the figures of the input: random resized crops, flipped, as ImageNet's recipes have them.

    Raises:
      RequestError: If the data are missing or damaged.
    """
    config = default_config()
    config.data.source, config.data.path, config.data.name = (
        options.source,
        options.path,
        options.name,
    )
    config.data.image_size = get_variant(options.variant).image_size
    config.data.num_threads = options.num_threads
    config.data.resident = "false"  # what is measured is the way from the host
    config.data.synthetic_examples = 16 * options.batch_size
    config.batch_size, config.num_epochs = options.batch_size, 1
    config.augment.crop, config.augment.flip_probability = "random_resized", 0.5
    config.augment.color_jitter = options.color_jitter
    config.model.variant = "cifar32"  # never run, and quickly built
    config.model.num_classes = get_variant("cifar32").num_classes
    devices = jax.devices()[:1]
    faults = validate(config)
    if not faults:
        sources = experiment.open_sources(config)
        config.model.num_classes = sources["train"].num_classes
        faults = experiment.data_faults(config, sources)
    if faults:
        raise RequestError("\n".join(fault.text for fault in faults))
    run = experiment.build(config, sources, devices)
    transform = parts.build_transform(config, sources)
    return input_speed.measure_input(run, transform, seconds=options.seconds)


KINDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "step": step,
    "input": measure_input,
}


def _config(options: argparse.Namespace) -> ConfigDict:
    config = default_config()
    config.model.variant = options.variant
    config.model.num_classes = get_variant(options.variant).num_classes
    config.model.precision = options.precision
    config.data.source = "synthetic"
    config.data.synthetic_examples = options.batch_size
    config.batch_size = options.batch_size
    config.num_epochs = 1
    config.parallelism = options.parallelism
    config.augment.flip_probability = 0.5
    return config


def _table(figures: dict[str, Any]) -> str:
    width = max(map(len, figures))
    return "\n".join(f"{name:<{width}}  {_text(value)}" for name, value in figures.items())


def _text(value: Any) -> str:
    if value is None:
        return "not measured"
    return (
        f"{value:,.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else value
    )
