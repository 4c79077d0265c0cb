"""Writes a model as one file to deploy: StableHLO, which jax and flatbuffers run, or ONNX."""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alexnet_jax import library
from alexnet_jax.backend.activate import activate
from alexnet_jax.errors import RequestError, RunError, writing
from alexnet_jax.model import onnx_graph, stablehlo
from alexnet_jax.model.alexnet import AlexNet
from alexnet_jax.model.variants import variants
from alexnet_jax.train import trained_run
from alexnet_jax.train.run_card import device_name
from alexnet_jax.train.writers import read_object

EPILOG = """\
OUT ends in .stablehlo or .onnx (which needs pip install -e '.[export]'). The file takes float32 images
[batch, size, size, 3], normalised, of any batch size, and gives logits [batch, classes]. It is run at batch sizes 1
and 7 before it takes OUT's place: StableHLO in a fresh process with jax and flatbuffers alone, ONNX with onnxruntime.
How the run's evaluation looked at images and the names of its classes are in OUT's metadata_props (ONNX) or in a file
beside it, of the same name with .json (StableHLO).

examples:
  python -m alexnet_jax export --weights alexnet.pth --variant torchvision alexnet.stablehlo
  python -m alexnet_jax export --weights runs/digits digits.onnx"""

FORMATS = {".stablehlo": stablehlo, ".onnx": onnx_graph}
BATCH_SIZES = (1, 7)
TOLERANCE = 1e-3  # of the largest logit; rounding is a hundredth of it


def main(arguments: Sequence[str]) -> int:
    """Runs the command.

    Raises:
      RequestError: If the backend does not start, the weights cannot be read, or the file cannot be written there.
      RunError: If the file's logits are not the model's; an older file stays as it was.
    """
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_jax export",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--weights", type=Path, required=True, help="a file of them, or a workdir")
    parser.add_argument("--variant", help=f"one of: {', '.join(variants())}; default: what fits")
    options = parser.parse_args(arguments)
    out = options.out
    if out.suffix not in FORMATS:
        raise RequestError(f"{out} ends in neither {' nor '.join(FORMATS)}; name such a file.")
    if not out.parent.is_dir():
        raise RequestError(f"{out}: there is no directory {out.parent}; make it first.")
    if out.is_dir():
        raise RequestError(f"{out} is a directory; name a file.")
    (device, *_) = activate("auto")
    model = library.load(options.weights, options.variant)
    said = trained_run.described(
        options.weights, model.variant.name, model.num_classes, model.image_size
    )
    beside = out.with_suffix(stablehlo.BESIDE) if out.suffix == ".stablehlo" else None
    if beside is not None:
        _refuse_another(beside, said)
    with writing(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as directory:
        written = Path(directory) / out.name
        FORMATS[out.suffix].write(model, written, said)
        compared = _compare(model, written, out)
        for file in Path(directory).iterdir():
            os.replace(file, out.with_name(file.name))
    print(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB; {compared}; the model ran on {device_name(device)}"
    )
    where = f"in {beside}" if beside else "in its metadata_props"
    print(f"its variant, how it looks at images and its classes: {where}")
    return 0


def _refuse_another(beside: Path, said: Mapping[str, Any]) -> None:
    """Refuses to write over a file that is none of ours, such as a run's config.json.

    Raises:
      RequestError: If there is one.
    """
    if not beside.exists():
        return
    try:
        ours = said.keys() <= read_object(beside).keys()
    except RequestError:
        ours = False
    if not ours:
        raise RequestError(
            f"{beside} is to say what the exported file is, and is another file; name another OUT, or move it."
        )


def _compare(model: AlexNet, written: Path, out: Path) -> str:
    """Returns how far a file's logits are from the model's, and raises RunError where that is too far for ``out``."""
    size = model.image_size
    generator = np.random.default_rng(0)
    batches = [generator.standard_normal((n, size, size, 3), np.float32) for n in BATCH_SIZES]
    found = FORMATS[out.suffix].run(written, batches)
    with jax.default_matmul_precision("highest"):
        wanted = [np.asarray(model(jax.numpy.asarray(images))) for images in batches]
    differences = [np.abs(a - b).max() for a, b in zip(found, wanted, strict=True)]
    difference = float(np.max(differences))  # of a NaN, NaN; Python's max would pass one over
    largest = float(np.max([np.abs(b).max() for b in wanted]))
    compared = (
        f"largest difference from the model {difference:.1e}, of logits up to {largest:.1e}, at batch sizes "
        f"{' and '.join(map(str, BATCH_SIZES))}"
    )
    if not difference <= TOLERANCE * max(largest, 1e-30):
        raise RunError(
            f"{out} was not written, as what it would hold is not the model: {compared}; at most {TOLERANCE:g} of the "
            "largest is rounding. Look for NaN among the weights, or write the other format."
        )
    return compared
