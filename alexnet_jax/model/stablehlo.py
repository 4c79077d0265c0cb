"""A model as a StableHLO file that jax and flatbuffers run, at any batch size, on a CPU or with CUDA."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export
from jax import numpy as jnp

from alexnet_jax.errors import RunError
from alexnet_jax.model import functional
from alexnet_jax.model.alexnet import AlexNet

PLATFORMS = ("cpu", "cuda")
BESIDE = ".json"  # the suffix of the file that says what this format has no place for

# What a user of the file writes; run to check it, in a process that knows nothing of this package.
_CALL = """\
import sys, numpy
from jax import export
model = export.deserialize(open(sys.argv[1], "rb").read())
for path in sys.argv[2:]:
    numpy.save(path, model.call(numpy.load(path)))
"""


def write(model: AlexNet, path: Path, said: Mapping[str, Any] | None = None) -> None:
    """Writes a model's evaluation: float32 images [batch, size, size, 3], normalised, to logits [batch, classes].

    In full float32 on every platform; a GPU may else multiply in TF32. What is ``said`` of it is beside it, as JSON.
    """
    definition, params, model_state = functional.split(model)

    def logits(images: jax.Array) -> jax.Array:
        return definition.apply(params, model_state, images)[0]

    (batch,) = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, model.image_size, model.image_size, 3), jnp.float32)
    with jax.default_matmul_precision("highest"):
        exported = export.export(jax.jit(logits), platforms=PLATFORMS)(images)
    path.write_bytes(exported.serialize())
    if said:
        path.with_suffix(BESIDE).write_text(json.dumps(said, indent=2, allow_nan=False) + "\n")


def run(path: Path, batches: list[np.ndarray]) -> list[np.ndarray]:
    """Returns the logits that a file gives for each batch, in a fresh process with jax and flatbuffers alone.

    Raises:
      RunError: If the process fails.
    """
    with tempfile.TemporaryDirectory() as directory:
        files = [Path(directory) / f"{number}.npy" for number in range(len(batches))]
        for file, images in zip(files, batches, strict=True):
            np.save(file, images)
        command = [sys.executable, "-c", _CALL, str(path), *map(str, files)]
        child = subprocess.run(command, capture_output=True, text=True, check=False)
        if child.returncode:
            raise RunError(f"{path.name} does not run, so it was not kept:\n{child.stderr}")
        return [np.load(file) for file in files]
