"""The losses of every strategy on 1, 2, 4 and 8 CPU devices, side by side; fails where they part.

python benchmarks/strategies.py            the networks as they are
python benchmarks/strategies.py --narrow   with 64 hidden units instead of 4096: seconds instead of minutes
python benchmarks/strategies_double.py     the same in double precision, with as many roundings as tolerance

Rounding grows over steps of gradient descent, by how much depends on the network: a unit may switch. To compare with,
each network is also trained on one device from parameters moved by one rounding; that changes no verdict.
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

IMAGE_PIXELS = {"torchvision": 63, "deepspark": 16}
DEVICE_COUNTS = (1, 2, 4, 8)
TOLERANCE = 84 * float(jnp.finfo(jnp.float32).eps)  # relative; 1e-5
MOVES = 3  # ways to move the parameters by a rounding


def losses(
    variant: str,
    options: argparse.Namespace,
    strategy: str = "jit",
    devices: int = 1,
    move: int = 0,
) -> np.ndarray:
    """Returns the mean loss of each step [steps], in float32 and without dropout.

    Args:
      variant: Which network.
      options: The command's.
      strategy: How the devices share a step.
      devices: How many.
      move: Other than 0, moves each parameter up or down to the next number, which way drawn by this seed.
    """
    config = default_config()
    config.model.variant, config.model.num_classes = variant, 10
    config.model.dropout_rate, config.model.precision = 0.0, "float32"
    config.data.source, config.data.image_size = "synthetic", IMAGE_PIXELS[variant]
    config.data.synthetic_examples, config.batch_size = 96, 8
    config.augment.crop, config.augment.flip_probability = "pad", 0.5
    config.optimizer.learning_rate, config.optimizer.weight_decay = 0.01, 1e-4
    config.parallelism = strategy
    config.model.layers, config.seed = options.layers, options.seed
    config.num_epochs, config.schedule.warmup_epochs = 2, 1.0
    run = experiment.build(config, experiment.open_sources(config), jax.devices()[:devices])
    state, history = run.initial_state, []
    if move:
        generator = np.random.default_rng(move)
        state = dataclasses.replace(
            state, params=jax.tree.map(lambda x: moved(x, generator), state.params)
        )
    for _, batch in zip(range(options.steps), run.train_batches(0), strict=False):
        state, sums = run.train_step(state, run.strategy.place_batch(batch))
        history.append(float(sums["loss"]) / config.batch_size)
    return np.asarray(history)


def moved(parameter: jax.Array, generator: np.random.Generator) -> jax.Array:
    """Returns the parameter with each value at the next number of its type above or below; zeros stay."""
    values = np.asarray(parameter)
    towards = np.where(generator.integers(0, 2, values.shape, bool), np.inf, -np.inf)
    next_values = np.nextafter(values, towards.astype(values.dtype))
    return jax.device_put(np.where(values == 0, values, next_values), parameter.sharding)


def main() -> int:
    """Prints the largest relative difference from one device's ``jit`` for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--narrow", action="store_true", help="64 hidden units instead of 4096")
    parser.add_argument("--variant", choices=IMAGE_PIXELS, help="default: each")
    parser.add_argument("--layers", default="auto", help="model.layers")
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
        expected = losses(variant, options)
        print(f"{variant}: loss {expected[0]:.6f} to {expected[-1]:.6f} in {len(expected)} steps")

        def difference(title: str, found: np.ndarray, expected: np.ndarray = expected) -> float:
            parted = np.abs(found - expected) / expected
            print(
                f"  {title}: {parted[0]:.1e} at the first, {parted.max():.1e} at most", flush=True
            )
            return parted.max()

        for move in range(1, MOVES + 1):
            title = f"parameters moved by a rounding, {move}"
            difference(title, losses(variant, options, move=move))
        for strategy in STRATEGIES:
            for devices in DEVICE_COUNTS:
                found = losses(variant, options, strategy, devices)
                failed |= difference(f"{strategy:6} on {devices}", found) > TOLERANCE
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
