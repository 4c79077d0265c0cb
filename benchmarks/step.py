"""Times the training step in both formulations and in PyTorch, in processes that take turns; see benchmarks.md.

python benchmarks/step.py [--torch-python PYTHON] [--steps 10] [--precision float32 bfloat16] [--variant torchvision]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = ("plain", "fast")
WARM_UP = 2
TUNED = "torch with our memory settings"


def main() -> None:
    """Prints images per second of each contender, from the median step, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", nargs="+", default=["torchvision"])
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--layers", nargs="+", default=list(LAYERS), choices=LAYERS)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help="timed of each contender")
    parser.add_argument("--torch-python", help="an interpreter that has PyTorch; without, no peer")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        take_turns(jax_step if options.contender in LAYERS else torch_step, options)
        return
    for variant in options.variant:
        for precision in options.precision:
            compare(options, variant, precision)


def compare(options: argparse.Namespace, variant: str, precision: str) -> None:
    """Starts every contender and has them take a step in turns."""
    asked = ["--variant", variant, "--precision", precision]
    asked += ["--batch-size", str(options.batch_size)]
    pythons = dict.fromkeys(options.layers, sys.executable)
    if options.torch_python:
        pythons |= dict.fromkeys(("torch", TUNED), options.torch_python)
    contenders = {
        name: subprocess.Popen(
            [python, __file__, *asked, "--contender", name],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, python in pythons.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(WARM_UP + options.steps):
        for name, contender in contenders.items():
            assert contender.stdin is not None
            assert contender.stdout is not None
            contender.stdin.write("\n")
            contender.stdin.flush()
            seconds[name].append(float(contender.stdout.readline()))
    for contender in contenders.values():
        contender.communicate()
    rates = {
        name: options.batch_size / statistics.median(values[WARM_UP:])
        for name, values in seconds.items()
    }
    print(f"{variant} {precision} batch {options.batch_size}, images/s:", end=" ")
    print(", ".join(f"{name} {rate:.1f}" for name, rate in rates.items()), end="; ")
    ratios = (f"fast/{name} {rates['fast'] / rate:.2f}" for name, rate in rates.items())
    print(", ".join(ratio for ratio in ratios if not ratio.startswith("fast/fast")), flush=True)


def take_turns(
    make: Callable[[argparse.Namespace], Callable[[], object]], options: argparse.Namespace
) -> None:
    """Takes a step for every line that comes in and answers with its seconds."""
    step = make(options)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)


def jax_step(options: argparse.Namespace) -> Callable[[], object]:
    """Returns a call that trains one step of ours on one batch and waits for it."""
    import jax

    from alexnet_jax.backend import memory
    from alexnet_jax.config import default_config
    from alexnet_jax.train import experiment, speed

    memory.keep_freed_memory()  # as the trainer does
    config = default_config()
    (config.model.variant,), (config.model.precision,) = options.variant, options.precision
    config.model.layers = options.contender
    config.data.source, config.data.synthetic_examples = "synthetic", options.batch_size
    config.data.resident = "false"  # one batch a step, placed below
    config.batch_size, config.num_epochs = options.batch_size, 1
    run = experiment.build(config, experiment.open_sources(config), jax.devices()[:1])
    batch = run.strategy.place_batch(next(run.train_batches(0)))
    training = speed.Training(run, batch)
    return lambda: jax.block_until_ready(training.step(batch))


def torch_step(options: argparse.Namespace) -> Callable[[], object]:
    """Returns a call that trains one step of PyTorch's and waits for it."""
    from alexnet_jax.backend import memory
    from alexnet_jax.model.variants import get_variant
    from alexnet_jax.train import peer_torch

    if options.contender == TUNED:
        memory.keep_freed_memory()
    (variant,), (precision,) = options.variant, options.precision
    row = get_variant(variant)
    return peer_torch.training_step(
        row,
        image_size=row.image_size,
        num_classes=row.num_classes,
        batch_size=options.batch_size,
        precision=precision,
        on_gpu=False,
    )


if __name__ == "__main__":
    main()
