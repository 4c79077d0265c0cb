"""Images a second of training from the host, one step a dispatch, and from the device, several; see benchmarks.md.

    python benchmarks/resident.py [--packed DIR]

configs/digits.py, and its network on images of CIFAR-10's size and number of classes; or configs/imagenet.py, without
the color jitter, from a packed directory. All ways of a recipe take turns; "step alone" is one step a dispatch on a
batch that stays on the device. What a step frees is kept for the next one, as the trainer has it, unless a MALLOC_...
variable is set: `MALLOC_ARENA_MAX=16`, glibc's own choice for two cores, shows what they come to without.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from alexnet_jax import config as configuration
from alexnet_jax.backend import memory
from alexnet_jax.data.sources.base import ArraySource, Source
from alexnet_jax.train import experiment, speed

ROOT = Path(__file__).parents[1]
WAYS = ("host", "resident", "step alone")


def recipe(name: str, options: argparse.Namespace) -> tuple[ConfigDict, dict[str, Source]]:
    """Returns a run without end, and its data."""
    recipe = "imagenet" if name == "packed" else "digits"
    config = configuration.load(str(ROOT / f"configs/{recipe}.py"))
    config.num_epochs, config.log_every_steps = 10_000, 50
    config.eval_every_epochs = config.checkpoint.every_epochs = 0
    if name != "digits":
        config.batch_size = options.batch_size
    if name == "packed":
        config.data.source, config.data.path = "packed", options.packed
        config.model.num_classes, config.augment.color_jitter = None, 0.0
    if name != "CIFAR size":
        return config, experiment.open_sources(config)
    generator, size = np.random.default_rng(0), options.images
    images = generator.integers(0, 256, (size, 32, 32, 3), np.uint8)
    labels = generator.integers(0, 10, size).astype(np.int32)
    source = ArraySource(images, labels, tuple("0123456789"))
    return config, {"train": source, "eval": source}


def prepare(name: str, way: str, options: argparse.Namespace) -> Callable[[], float]:
    """Builds and compiles a run, and returns what trains for a round and gives its images a second."""
    config, sources = recipe(name, options)
    config.data.resident = "true" if way == "resident" else "false"
    config.steps_per_dispatch = options.together if way == "resident" else 0
    run = experiment.build(config, sources, jax.devices()[:1])
    batches = run.train_batches(0)
    batch = run.place_batch("train", next(batches))
    batches.close()
    training = speed.Training(run, batch)

    def one_batch() -> float:
        start, done = time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < options.seconds:
            jax.block_until_ready(training.step(batch))
            done += config.batch_size
        return done / passed

    return one_batch if way == "step alone" else lambda: training.images_per_second(options.seconds)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packed", help="a packed directory, to train from in place of the others")
    parser.add_argument("--batch-size", type=int, default=128, help="of all but the digits")
    parser.add_argument("--images", type=int, default=10_000, help="of the CIFAR-size run")
    parser.add_argument("--together", type=int, default=0, help="steps_per_dispatch; default: auto")
    parser.add_argument("--seconds", type=float, default=4.0, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    kept = memory.keep_freed_memory()  # as the trainer does
    print(f"jax {jax.__version__}, Python {sys.version.split()[0]}, {jax.devices()[0].device_kind}")
    print(f"what a step frees is {'kept for the next one' * kept or 'given back to the system'}")
    for name in ("packed",) if options.packed else ("digits", "CIFAR size"):
        runs = {way: prepare(name, way, options) for way in WAYS}
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(options.rounds):
            for way, train in runs.items():
                rates[way].append(train())
        medians = {way: statistics.median(values) for way, values in rates.items()}
        print(name)
        for way, rate in medians.items():
            each = " ".join(f"{value:,.1f}" for value in rates[way])
            print(f"  {way:12} {rate:10,.1f} images/s  {rate / medians['host']:.2f}  ({each})")


if __name__ == "__main__":
    main()
