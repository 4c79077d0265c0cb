"""Labels images: the likeliest classes of each, with their probabilities."""

import argparse
import dataclasses
import io
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alexnet_jax import library
from alexnet_jax.backend.activate import activate
from alexnet_jax.data import imagenet
from alexnet_jax.data.image_files import expand
from alexnet_jax.data.preprocess import preprocess
from alexnet_jax.errors import RequestError
from alexnet_jax.model.variants import variants
from alexnet_jax.model.weights.fit import Weights
from alexnet_jax.options import AT_LEAST_ONE, number_faults, refuse
from alexnet_jax.train import trained_run

EPILOG = """\
IMAGE is a file, a directory (all images below it), or - for a list of them on standard input, one a line. Images are
looked at as the run's evaluation did, also with a file that "convert" made of a run; with any other file of weights the
shorter side is resized to 8/7 of the input (256 for 224), the middle cut out, and ImageNet's mean and standard
deviation are taken.

Exit status: 0 all were labelled; 1 some could not be read, they are named on standard error; 2 the request was wrong.

examples:
  python -m alexnet_jax predict --weights alexnet.pth --variant torchvision photo.jpg photos/
  find photos -newer yesterday | python -m alexnet_jax predict --weights runs/finetune --json -"""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A class of an image: its name, its number, and its probability."""

    label: str
    index: int
    probability: float


def main(arguments: Sequence[str]) -> int:
    """Runs the command: 0 every image was labelled, 1 some could not be read."""
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_jax predict",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--weights", type=Path, required=True, help="a file of them, or a workdir")
    parser.add_argument("--variant", help=f"one of: {', '.join(variants())}; default: what fits")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes; default: 5")
    parser.add_argument("--batch-size", type=int, default=32, help="default: 32")
    parser.add_argument("--json", action="store_true", help="for programs: one object a line")
    options = parser.parse_args(arguments)
    refuse(number_faults(options, {"top": AT_LEAST_ONE, "batch_size": AT_LEAST_ONE}))
    activate("auto")
    weights = library.read(options.weights, options.variant)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # names of files are bytes, not UTF-8
    files = expand(options.images, sys.stdin)
    total = broken = 0
    for name, outcome in _predictions(weights, options, files):
        total += 1
        if isinstance(outcome, RequestError):
            broken += 1
            print(outcome, file=sys.stderr)
        else:
            _print(_line(name, outcome, as_json=options.json))
    if not total:
        raise RequestError(f"there are no images in {' '.join(options.images)}.")
    if broken:
        print(f"{broken} of {total} images could not be read", file=sys.stderr)
    return 1 if broken else 0


def _predictions(
    weights: Weights, options: argparse.Namespace, files: Iterator[str]
) -> Iterator[tuple[str, list[Prediction] | RequestError]]:
    """Yields each file's likeliest classes, or why it could not be read, in order."""
    look = trained_run.look(options.weights, weights.image_size)
    names = trained_run.labels(options.weights, weights.num_classes)

    def read(name: str) -> np.ndarray | RequestError:
        try:
            return preprocess([name], **look)[0]
        except RequestError as error:
            return error

    @jax.jit
    def probabilities(params: Any, model_state: Any, images: jax.Array) -> jax.Array:
        return jax.nn.softmax(weights.model.apply(params, model_state, images)[0])

    size, rows_at_once = weights.image_size, 0
    with ThreadPoolExecutor() as pool:
        while batch := list(islice(files, options.batch_size)):
            outcomes = list(pool.map(read, batch))
            images = [image for image in outcomes if isinstance(image, np.ndarray)]
            rows: Iterator[np.ndarray] = iter(())
            if images:
                # One compiled program: the last batch and those with broken images are filled up.
                rows_at_once = rows_at_once or len(batch)
                padded = np.zeros((rows_at_once, size, size, 3), np.float32)
                padded[: len(images)] = images
                rows = iter(np.asarray(probabilities(weights.params, weights.model_state, padded)))
            for name, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, RequestError):
                    yield name, outcome
                else:
                    yield name, _likeliest(next(rows), names, options.top)


def _likeliest(row: np.ndarray, names: Sequence[str], top: int) -> list[Prediction]:
    order = np.argsort(-row, kind="stable")[:top]
    return [Prediction(names[i], int(i), float(row[i])) for i in order]


def _line(name: str, predictions: list[Prediction], *, as_json: bool) -> str:
    if as_json:
        return json.dumps(
            {"image": name, "predictions": [dataclasses.asdict(p) for p in predictions]}
        )
    shown = "  ".join(f"{p.probability:6.2%} {imagenet.short(p.label)}" for p in predictions)
    return f"{name}  {shown}"


def _print(line: str) -> None:
    """Prints a line; what standard output cannot say of a file's name, which need not be UTF-8, as question marks."""
    try:
        print(line, flush=True)
    except UnicodeEncodeError as error:
        print(line.encode(error.encoding, "replace").decode(error.encoding), flush=True)
