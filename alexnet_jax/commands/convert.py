"""Converts weights: from PyTorch, MindSpore, safetensors or a run, to .safetensors; strict both ways."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax

from alexnet_jax import library
from alexnet_jax.backend.activate import activate
from alexnet_jax.model.variants import variants
from alexnet_jax.model.weights import write
from alexnet_jax.train import trained_run

EPILOG = """\
SRC is a file of weights (.pth, .safetensors, MindSpore's .ckpt), a workdir or WORKDIR/checkpoints/STEP.
DST ends in .safetensors; PyTorch loads it with strict=True. Of a run, its classes and how
its evaluation looks at images are noted in it for predict.

examples:
  python -m alexnet_jax convert alexnet.pth alexnet.safetensors --variant torchvision
  python -m alexnet_jax convert runs/digits digits.safetensors"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_jax convert",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="SRC")
    parser.add_argument("destination", type=Path, metavar="DST")
    parser.add_argument(
        "--variant", help=f"one of: {', '.join(variants())}; default: the one SRC says or fits"
    )
    parser.add_argument("--num-classes", type=int, help="SRC must have so many; default: SRC's")
    options = parser.parse_args(arguments)
    activate("cpu")  # no other device is needed
    weights = library.read(options.source, options.variant, num_classes=options.num_classes)
    said = trained_run.metadata(options.source, weights.image_size)
    write.write(weights.bind(), options.destination, said)
    count = sum(array.size for array in jax.tree.leaves(weights.params))
    print(
        f"{weights.variant}, {weights.num_classes} classes, {count:,} parameters: {options.source} -> "
        f"{options.destination}"
    )
    return 0
