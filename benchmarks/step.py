"""Times the training step in both formulations and in PyTorch, in processes that take turns; see benchmarks.md.

python benchmarks/step.py [--torch-python PYTHON] [--rounds 3] [--precision float32 bfloat16] [--variant torchvision]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = ("plain", "fast")


def main() -> None:
    """Prints images per second of each contender, medians over the rounds, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", nargs="+", default=["torchvision"])
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5, help="timed in each process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch-python", help="an interpreter that has PyTorch; without, no peer")
    parser.add_argument("--torch-child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch_child:
        print(json.dumps({"images_per_second": torch_rate(options)}))
        return
    for variant in options.variant:
        for precision in options.precision:
            compare(options, variant, precision)


def compare(options: argparse.Namespace, variant: str, precision: str) -> None:
    """Runs every contender once a round."""
    sizes = ["--batch-size", str(options.batch_size), "--steps", str(options.steps)]
    asked = ["--variant", variant, "--precision", precision, *sizes]
    command = [sys.executable, "-m", "alexnet_jax", "benchmark", "step", "--json", *asked]
    contenders = {layers: [*command, "--layers", layers] for layers in LAYERS}
    if options.torch_python:
        contenders["torch"] = [options.torch_python, __file__, "--torch-child", *asked]
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, contender in contenders.items():
            run = subprocess.run(contender, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
            rates[name].append(json.loads(run.stdout.splitlines()[-1])["images_per_second"])
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{variant} {precision} batch {options.batch_size}, images/s:", end=" ")
    print(", ".join(f"{name} {rate:.1f}" for name, rate in medians.items()), end="; ")
    ratios = (f"fast/{name} {medians['fast'] / medians[name]:.2f}" for name in medians)
    print(", ".join(ratio for ratio in ratios if not ratio.startswith("fast/fast")), flush=True)


def torch_rate(options: argparse.Namespace) -> float:
    """Returns the images a second of PyTorch's step."""
    from alexnet_jax.model.variants import get_variant
    from alexnet_jax.train import peer_torch

    (variant,), (precision,) = options.variant, options.precision
    row = get_variant(variant)
    step = peer_torch.training_step(
        row,
        image_size=row.image_size,
        num_classes=row.num_classes,
        batch_size=options.batch_size,
        precision=precision,
        on_gpu=False,
    )
    times = []
    for _ in range(2 + options.steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return options.batch_size / statistics.median(times[2:])


if __name__ == "__main__":
    main()
