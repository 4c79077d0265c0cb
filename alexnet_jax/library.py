"""The model as a library: weights in, weights out."""

from os import PathLike
from pathlib import Path
from typing import Any

from alexnet_jax.errors import RequestError
from alexnet_jax.model.alexnet import AlexNet
from alexnet_jax.model.weights import files
from alexnet_jax.model.weights import write as weights_writer
from alexnet_jax.model.weights.fit import Weights, fit


def load(
    path: str | PathLike[str],
    variant: str | None = None,
    *,
    num_classes: int | None = None,
    image_size: int | None = None,
) -> AlexNet:
    """Reads a trained model.

    Args:
      path: A file of weights (PyTorch's ``.pth``, ``.safetensors``, MindSpore's ``.ckpt``), a workdir, for its newest
        checkpoint, or WORKDIR/checkpoints/STEP.
      variant: Its name, one of ``variants()``; None for what the file or the run says, or else the one it fits.
      num_classes: Must be the file's; None for whatever that is.
      image_size: Height and width of the input in pixels; None for the run's, or the publisher's.

    Returns:
      The model, in evaluation, computing in float32.

    Raises:
      RequestError: If there is no such file, it is damaged or holds anything but arrays, or it is of another variant;
        every unknown name, missing name and wrong shape is listed.
    """
    return read(path, variant, num_classes=num_classes, image_size=image_size).bind()


def read(
    path: str | PathLike[str],
    variant: str | None = None,
    *,
    num_classes: int | None = None,
    image_size: int | None = None,
) -> Weights:
    """Reads weights as arrays by name; arguments and errors as in ``load``."""
    path = Path(path)
    if not path.is_dir():
        return fit(files.read(path), variant, num_classes=num_classes, image_size=image_size)
    from alexnet_jax.train import saved_weights  # Orbax takes seconds to import; files do without

    weights = saved_weights.read(path, image_size=image_size)
    asked = {"variant": variant, "num_classes": num_classes}
    differences = [
        f"{name} is {getattr(weights, name)!r} there, not {value!r}"
        for name, value in asked.items()
        if value is not None and value != getattr(weights, name)
    ]
    if differences:
        raise RequestError(f"{path} is a run of another model: {'; '.join(differences)}.")
    return weights


def look(path: str | PathLike[str]) -> dict[str, Any]:
    """Returns how a run's evaluation looks at an image: ``preprocess(files, **look("runs/digits"))``.

    Of a file of weights that does not say it, the size of its input alone: ``preprocess`` has the rest.

    Args:
      path: As in ``load``; "convert" notes it in the file that it makes of a run.

    Raises:
      RequestError: As in ``load``; also if the run's settings are damaged.
    """
    from alexnet_jax.train import trained_run  # as above

    return trained_run.look(Path(path), read(path).image_size)


def save(model: AlexNet, path: str | PathLike[str]) -> None:
    """Writes a model's weights by its publisher's names, as PyTorch's ``load_state_dict(..., strict=True)`` wants them.

    Args:
      model: Of any variant.
      path: Ends in ``.safetensors``; an older file is replaced at once, when the new one is complete.

    Raises:
      RequestError: If the path names another format, or cannot be written.
    """
    weights_writer.write(model, Path(path))
