"""The weights of a checkpoint, without its optimizer: what a trained run is loaded from."""

import dataclasses
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
import orbax.checkpoint as ocp

from alexnet_jax.errors import RequestError
from alexnet_jax.model.weights.fit import Weights
from alexnet_jax.model.weights.layout import published_shape
from alexnet_jax.model.weights.slots import MODEL_STATE, PARAMS, frame
from alexnet_jax.train.checkpoint import (
    DIRECTORY,
    Identity,
    latest_step,
    read_newest,
    require_sound,
)
from alexnet_jax.train.settings import require
from alexnet_jax.train.writers import CONFIG_FILE, damaged, read_object

EMA_PARAMS = "ema_params"


def locate(path: Path) -> tuple[Path, int]:
    """Returns a workdir and the step of its checkpoint.

    Args:
      path: A workdir, for its newest checkpoint, or WORKDIR/checkpoints/STEP.

    Raises:
      RequestError: If there is none, or it is damaged.
    """
    if _names_a_step(path):
        require_sound(path)
        return path.parent.parent, int(path.name)
    step = latest_step(path)
    return (path, step) if step is not None else _refuse(path)


def _names_a_step(path: Path) -> bool:
    return path.parent.name == DIRECTORY and path.name.isdecimal() and path.is_dir()


def _refuse(path: Path) -> NoReturn:
    raise RequestError(f"{path} holds no checkpoint; name a workdir or a file of weights.")


def read(
    path: Path,
    *,
    use_ema: bool | None = None,
    variant: str | None = None,
    image_size: int | None = None,
) -> Weights:
    """Reads the weights of a checkpoint, written on any number of devices. Changes nothing on disk.

    Args:
      path: As in ``locate``.
      use_ema: Whether to take the moving average of the parameters; None for what the run evaluated.
      variant: That a training asks for; None for the run's.
      image_size: Height and width of the input, in pixels; None for the run's.

    Raises:
      RequestError: If there is no checkpoint, it is of another variant or keeps no such average, its arrays are not
        those of its network at that image size, or the run's settings are damaged.
    """
    if _names_a_step(path):
        workdir, step = locate(path)
        return _read(path, workdir, step, use_ema, variant, image_size)
    weights = read_newest(path, lambda step: _read(path, path, step, use_ema, variant, image_size))
    return weights if weights is not None else _refuse(path)


def _read(
    path: Path,
    workdir: Path,
    step: int,
    use_ema: bool | None,
    variant: str | None,
    image_size: int | None,
) -> Weights:
    use_ema = _evaluates_ema(workdir) if use_ema is None else use_ema
    handlers = {"state": ocp.PyTreeCheckpointHandler(), "identity": ocp.JsonCheckpointHandler()}
    options = ocp.CheckpointManagerOptions(create=False)
    directory = (workdir / DIRECTORY).absolute()
    with ocp.CheckpointManager(directory, item_handlers=handlers, options=options) as manager:
        saved = manager.item_metadata(step)["state"].tree
        if use_ema and EMA_PARAMS not in saved:
            raise RequestError(
                f"{directory / str(step)} keeps no moving average of the parameters; use --config.eval.use_ema=False."
            )
        params_name = EMA_PARAMS if use_ema else PARAMS
        wanted = {name: saved[name] for name in (params_name, MODEL_STATE) if name in saved}
        args = ocp.args.Composite(
            identity=ocp.args.JsonRestore(),
            state=ocp.args.PyTreeRestore(
                item=jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), wanted),
                restore_args=jax.tree.map(
                    lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted
                ),
                partial_restore=True,
            ),
        )
        restored = manager.restore(step, args=args)
    identity = Identity(**restored["identity"])
    state: dict[str, Any] = restored["state"]
    params, model_state = state[params_name], state.get(MODEL_STATE) or {}
    if variant is not None and identity.variant != variant:
        raise RequestError(
            f"{path} holds a {identity.variant}; this run asks for {variant}: add "
            f"--config.model.variant={identity.variant}."
        )
    if image_size is not None:
        identity = dataclasses.replace(identity, image_size=image_size)
    return _weights(directory / str(step), identity, params, model_state)


def _weights(
    where: Path, identity: Identity, params: dict[str, Any], model_state: dict[str, Any]
) -> Weights:
    wanted = frame(
        identity.variant, num_classes=identity.num_classes, image_size=identity.image_size
    )
    trees = {PARAMS: params, MODEL_STATE: model_state}
    shapes = {(slot.tree, slot.layer, slot.leaf): slot.shape for slot in wanted.slots}
    found = {
        (tree, layer, leaf): published_shape(array.shape)
        for tree, layers in trees.items()
        for layer, leaves in layers.items()
        for leaf, array in leaves.items()
    }
    if differing := sorted("/".join(name) for name, _ in shapes.items() ^ found.items()):
        raise RequestError(
            f"{where} is another network than {identity.variant} at image_size={identity.image_size}: it differs in "
            f"{', '.join(dict.fromkeys(differing))}; use the image size it was trained at."
        )
    return Weights(
        identity.variant,
        identity.num_classes,
        identity.image_size,
        wanted.model,
        params,
        model_state,
    )


def _evaluates_ema(workdir: Path) -> bool:
    """Returns whether a run evaluates the moving average of its parameters."""
    path = workdir / CONFIG_FILE
    if not path.is_file():
        return False
    (use_ema,) = require(read_object(path), ("eval.use_ema",), path)
    if not isinstance(use_ema, bool):
        raise damaged(path, f"eval.use_ema is {use_ema!r}, not true or false")
    return use_ema
