"""The losses of every strategy on 1, 2, 4 and 8 CPU devices, side by side; fails where they part.

python benchmarks/strategies.py            the networks as they are
python benchmarks/strategies.py --narrow   with 64 hidden units instead of 4096: seconds instead of minutes
python benchmarks/strategies_double.py     the same in double precision, with as many roundings as tolerance

Each case is compared with one device's ``jit`` twice: step by step, both from the same state, so that nothing adds up;
and freely, each going on from what it reached. A case fails if a loss is further off than the tolerance in either.

Free steps can be compared where training is stable. Where the learning rate is too high for the batch, so that the loss
rises, one rounding grows tenfold every few steps, on one device as on several: to show how far that goes, each network
is also trained on one device from parameters moved by one rounding. Rounding can switch a unit, whose gradient is
another then; in single precision the parameters after single steps are therefore only printed, in double a case fails
by them as well.
"""

import argparse
import dataclasses
import sys

import jax
import numpy as np
from jax import numpy as jnp

from alexnet_jax.config import default_config
from alexnet_jax.model import variants
from alexnet_jax.train import experiment
from alexnet_jax.train.parallel import STRATEGIES
from alexnet_jax.train.state import TrainState

IMAGE_PIXELS = {"torchvision": 63, "deepspark": 64}
# Of batches of 8. deepspark's is 2.5 times the published one (0.01 for 2,048) an image; at 0.01 its loss rises.
LEARNING_RATES = {"torchvision": 0.01, "deepspark": 1e-4}
DEVICE_COUNTS = (1, 2, 4, 8)
TOLERANCE = 84 * float(jnp.finfo(jnp.float32).eps)  # relative; 1e-5
DOUBLE = jnp.finfo(jnp.float32).bits == 64  # in strategies_double.py
MOVES = 3  # ways to move the parameters by a rounding


def build(
    variant: str, options: argparse.Namespace, strategy: str = "jit", devices: int = 1
) -> experiment.Experiment:
    """Returns a training in float32 and without dropout.

    Args:
      variant: Which network.
      options: The command's.
      strategy: How the devices share a step.
      devices: How many.
    """
    config = default_config()
    config.model.variant, config.model.num_classes = variant, 10
    config.model.dropout_rate, config.model.precision = 0.0, "float32"
    config.data.source, config.data.image_size = "synthetic", IMAGE_PIXELS[variant]
    config.data.synthetic_examples, config.batch_size = 96, 8
    config.data.resident = "false"  # one batch a step
    config.augment.crop, config.augment.flip_probability = "pad", 0.5
    rate = options.learning_rate or LEARNING_RATES[variant]
    config.optimizer.learning_rate, config.optimizer.weight_decay = rate, 1e-4
    config.parallelism = strategy
    config.model.layers, config.seed = options.layers, options.seed
    config.num_epochs, config.schedule.warmup_epochs = 2, 1.0
    return experiment.build(config, experiment.open_sources(config), jax.devices()[:devices])


def free_losses(run: experiment.Experiment, start: TrainState, steps: int) -> np.ndarray:
    """Returns the mean loss of each step [steps], each from the state that the one before it left.

    Args:
      run: To train.
      start: The state before the first step, on the host.
      steps: How many.
    """
    state, history = run.strategy.place_state(start), []
    for _, batch in zip(range(steps), run.train_batches(0), strict=False):
        state, sums = run.train_step(state, run.strategy.place_batch(batch))
        history.append(loss(run, sums))
    return np.asarray(history)


def single_steps(
    reference: experiment.Experiment, other: experiment.Experiment, start: TrainState, steps: int
) -> tuple[float, float]:
    """Returns how far each of the reference's steps, taken by the other from the same state, is from it, at most.

    Returns:
      The relative difference of the losses, and the difference of the parameters afterwards over the largest
      value of their array.
    """
    state, of_losses, of_parameters = reference.strategy.place_state(start), 0.0, 0.0
    for _, batch in zip(range(steps), reference.train_batches(0), strict=False):
        before = on_host(state)
        state, sums = reference.train_step(state, reference.strategy.place_batch(batch))
        after, others = other.train_step(
            other.strategy.place_state(before), other.strategy.place_batch(batch)
        )
        expected = loss(reference, sums)
        of_losses = max(of_losses, abs(loss(other, others) - expected) / expected)
        apart = jax.tree.map(_apart, after.params, state.params)
        of_parameters = max(of_parameters, *jax.tree.leaves(apart))
    return of_losses, of_parameters


def loss(run: experiment.Experiment, sums: dict[str, jax.Array]) -> float:
    """Returns the mean loss of a step's batch."""
    return float(sums["loss"]) / run.config.batch_size


def _apart(found: jax.Array, expected: jax.Array) -> float:
    values = np.asarray(expected)
    return float(np.abs(np.asarray(found) - values).max() / np.abs(values).max())


def on_host(state: TrainState) -> TrainState:
    """Returns a copy, which no step consumes."""
    return jax.tree.map(np.array, state)


def moved(state: TrainState, seed: int) -> TrainState:
    """Returns a host's state with each parameter at the next number of its type above or below; zeros stay."""
    generator = np.random.default_rng(seed)

    def move(values: np.ndarray) -> np.ndarray:
        towards = np.where(generator.integers(0, 2, values.shape, bool), np.inf, -np.inf)
        return np.where(values == 0, values, np.nextafter(values, towards.astype(values.dtype)))

    return dataclasses.replace(state, params=jax.tree.map(move, state.params))


def main() -> int:
    """Compares; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--narrow", action="store_true", help="64 hidden units instead of 4096")
    parser.add_argument("--variant", choices=IMAGE_PIXELS, help="default: each")
    parser.add_argument("--layers", default="auto", help="model.layers")
    parser.add_argument("--learning-rate", type=float, help="default: one that is stable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", max(DEVICE_COUNTS))
    failed = False
    print(f"jax {jax.__version__}, {jnp.dtype(jnp.float32)}, at most {TOLERANCE:.1e} apart")
    for variant in [options.variant] if options.variant else IMAGE_PIXELS:
        if options.narrow:
            row = variants.VARIANTS[variant]
            variants.VARIANTS[variant] = dataclasses.replace(row, hidden=(64, 64))
        failed |= compare(variant, options)
    return int(failed)


def compare(variant: str, options: argparse.Namespace) -> bool:
    """Prints the differences from one device's ``jit`` for each case, and returns whether one is too large."""
    reference, steps = build(variant, options), options.steps
    start = on_host(reference.initial_state)
    expected = free_losses(reference, start, steps)

    def free(run: experiment.Experiment, start: TrainState = start) -> float:
        return float((np.abs(free_losses(run, start, steps) - expected) / expected).max())

    print(f"{variant}: loss {expected[0]:.6f} to {expected[-1]:.6f} in {steps} steps")
    for seed in range(1, MOVES + 1):
        parted = free(reference, moved(start, seed))
        print(f"  one device, parameters moved by a rounding ({seed}): {parted:.1e} in free steps")
    failed = False
    for strategy in STRATEGIES:
        for devices in DEVICE_COUNTS:
            run = build(variant, options, strategy, devices)
            of_losses, of_parameters = single_steps(reference, run, start, steps)
            parted = free(run)
            judged = (of_losses, parted, of_parameters if DOUBLE else 0.0)
            wrong = max(judged) > TOLERANCE
            print(
                f"  {strategy:6} on {devices}: {of_losses:.1e} in single steps ({of_parameters:.1e} their parameters), "
                f"{parted:.1e} in free steps{'  TOO FAR' * wrong}",
                flush=True,
            )
            failed |= wrong
    return failed


if __name__ == "__main__":
    sys.exit(main())
