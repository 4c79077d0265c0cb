"""The losses of every strategy on 1, 2, 4 and 8 CPU devices, side by side; fails where they part.

python benchmarks/strategies.py            the networks as they are
python benchmarks/strategies.py --narrow   with 64 hidden units instead of 4096: seconds instead of minutes
"""

import argparse
import dataclasses
import sys

import jax
import numpy as np

from alexnet_jax.config import default_config
from alexnet_jax.model import variants
from alexnet_jax.train import experiment
from alexnet_jax.train.parallel import STRATEGIES

IMAGE_PIXELS = {"torchvision": 63, "deepspark": 16}
DEVICE_COUNTS = (1, 2, 4, 8)
TOLERANCE = 1e-5  # relative: float32 rounding, grown over 20 steps of gradient descent


def losses(variant: str, strategy: str, device_count: int, steps: int) -> np.ndarray:
    """Returns the mean loss of each step [steps], in float32 and without dropout."""
    config = default_config()
    config.model.variant, config.model.num_classes = variant, 10
    config.model.dropout_rate, config.model.precision = 0.0, "float32"
    config.data.source, config.data.image_size = "synthetic", IMAGE_PIXELS[variant]
    config.data.synthetic_examples, config.batch_size = 96, 8
    config.augment.crop, config.augment.flip_probability = "pad", 0.5
    config.optimizer.learning_rate, config.optimizer.weight_decay = 0.01, 1e-4
    config.parallelism = strategy
    config.num_epochs, config.schedule.warmup_epochs = 2, 1.0
    run = experiment.build(config, experiment.open_sources(config), jax.devices()[:device_count])
    state, history = run.initial_state, []
    for _, batch in zip(range(steps), run.train_batches(0), strict=False):
        state, sums = run.train_step(state, run.strategy.place_batch(batch))
        history.append(float(sums["loss"]) / config.batch_size)
    return np.asarray(history)


def main() -> int:
    """Prints the largest relative difference from one device's ``jit`` for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--narrow", action="store_true", help="64 hidden units instead of 4096")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", max(DEVICE_COUNTS))
    failed = 0
    for variant in IMAGE_PIXELS:
        if options.narrow:
            row = variants.VARIANTS[variant]
            variants.VARIANTS[variant] = dataclasses.replace(row, hidden=(64, 64))
        expected = losses(variant, "jit", 1, options.steps)
        print(f"{variant}: loss {expected[0]:.6f} to {expected[-1]:.6f} in {len(expected)} steps")
        for strategy in STRATEGIES:
            for device_count in DEVICE_COUNTS:
                found = losses(variant, strategy, device_count, options.steps)
                difference = np.max(np.abs(found - expected) / expected)
                failed += difference > TOLERANCE
                print(f"  {strategy:6} on {device_count}: {difference:.1e}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
