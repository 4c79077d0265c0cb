"""Which checkpoints a workdir has, and restoring the training state from them with Orbax."""

import dataclasses
import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util
from jax.experimental import multihost_utils

from alexnet_jax.errors import RequestError
from alexnet_jax.train import checksums
from alexnet_jax.train.state import TrainState

DIRECTORY = "checkpoints"
LOSS_SCALE = "loss_scale"  # of ``TrainState``

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Identity:
    """What a checkpoint is a checkpoint of; saved with it and compared when it is restored.

    Attributes:
      variant: Of the model.
      num_classes: Width of its classifier.
      image_size: Height and width of its input, in pixels.
      device: The platform, kind and number of the devices that wrote it; not compared.
    """

    variant: str
    num_classes: int
    image_size: int
    device: dict[str, Any] = dataclasses.field(compare=False)


def latest_step(workdir: Path, *, set_aside: bool = False) -> int | None:
    """Returns the step of the newest sound checkpoint of a workdir, None where there is none.

    A checkpoint is sound if its files are those that were written, by their sums. One without sums, of an earlier
    version, is taken to be sound.

    Args:
      workdir: Of the run that wrote it.
      set_aside: Whether damaged ones are renamed, so that they are not found again.

    Raises:
      RequestError: If there are checkpoints, and all of them are damaged; they keep their names.
    """
    newest = _NO_STEP
    if jax.process_index() == 0:
        newest = _newest_sound(workdir / DIRECTORY, set_aside)
    if jax.process_count() > 1:
        # All get the first one's answer: it may have begun to write already when others look.
        newest = int(multihost_utils.broadcast_one_to_all(np.int32(newest)))
    if newest == _ALL_DAMAGED:
        raise RequestError(
            f"every checkpoint in {workdir / DIRECTORY} is damaged. To train from the beginning, choose another "
            "--workdir or remove that directory; its files may still be of use to a person."
        )
    return None if newest == _NO_STEP else newest


def read_newest(workdir: Path, read: Callable[[int], T]) -> T | None:
    """Returns what ``read`` returns of the newest sound checkpoint's step, None where there is none.

    Where a run at work there removes the checkpoint while it is read, the next one is read.

    Raises:
      RequestError: As ``latest_step``.
    """
    while (step := latest_step(workdir)) is not None:
        try:
            return read(step)
        except Exception:  # of many types, as files vanish
            # The processes of a job have to do the same.
            if jax.process_count() > 1 or step in complete_steps(workdir / DIRECTORY):
                raise
    return None


_NO_STEP, _ALL_DAMAGED = -1, -2
DAMAGED_SUFFIX = ".damaged"
DIVERGED_SUFFIX = ".diverged"


def _newest_sound(directory: Path, set_aside: bool) -> int:
    damaged: dict[int, str] = {}
    newest, steps = _NO_STEP, sorted(complete_steps(directory), reverse=True)
    for step in steps:
        where = directory / str(step)
        # Of those before the newest sound one only what a later save reads, to know the best.
        damage = _damage(where) if newest == _NO_STEP else _damage_of_metrics(where)
        if damage:
            damaged[step] = damage
        elif newest == _NO_STEP:
            newest = step
    if not set_aside and not set(steps) <= set(complete_steps(directory)):
        return _newest_sound(directory, set_aside)  # a run at work there has removed one meanwhile
    if damaged and newest == _NO_STEP:
        newest = _ALL_DAMAGED
    for step, damage in damaged.items():
        where, what = directory / str(step), "passed over"
        if set_aside and newest != _ALL_DAMAGED:
            what = f"set aside as {_set_aside(where, DAMAGED_SUFFIX)}"
        _log.warning("checkpoint %s is damaged and %s: %s", where, what, damage)
    return newest


def _damage(where: Path) -> str:
    return checksums.find_damage(where) if checksums.exist(where) else ""


def _damage_of_metrics(where: Path) -> str:
    file = where / ocp.checkpoint_manager.METRIC_ITEM_NAME / "metrics"
    try:
        float(json.loads(file.read_bytes())["top1"])
    except FileNotFoundError:  # it was not evaluated
        return ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return f"{file.name} is not what was written"
    return ""


def require_sound(where: Path) -> None:
    """Returns if a checkpoint that somebody named is complete and as it was written.

    Args:
      where: WORKDIR/checkpoints/STEP.

    Raises:
      RequestError: If it is not.
    """
    if int(where.name) not in complete_steps(where.parent) or not (where / "state").is_dir():
        raise RequestError(f"{where} is no complete checkpoint; name another, or the workdir.")
    if damage := _damage(where):
        raise RequestError(
            f"{where} is damaged ({damage}); name another checkpoint, or the workdir for its newest sound one."
        )


def leave_diverged(workdir: Path, step: int) -> int:
    """Sets the newest checkpoint aside, from which the next step is not finite, where there is a sound one before it.

    Of a job of several processes the first one does, and all get its answer.

    Returns:
      The step of the checkpoint to go back to: ``step`` itself where there is none before it.
    """
    directory, before = workdir / DIRECTORY, step
    if jax.process_index() == 0:
        earlier = (each for each in sorted(complete_steps(directory), reverse=True) if each < step)
        before = next((each for each in earlier if not _damage(directory / str(each))), step)
        if before != step:
            _set_aside(directory / str(step), DIVERGED_SUFFIX)
    if jax.process_count() > 1:
        before = int(multihost_utils.broadcast_one_to_all(np.int32(before)))
    return before


def _set_aside(where: Path, suffix: str) -> str:
    """Renames a checkpoint, so that it is not found again, and returns its new name."""
    path = where.with_name(f"{where.name}{suffix}")
    names = itertools.chain(
        [path], (path.with_name(f"{path.name}-{n}") for n in itertools.count(2))
    )
    aside = next(name for name in names if not name.exists())
    where.rename(aside)
    return aside.name


def complete_steps(directory: Path) -> list[int]:
    """Returns the steps of the checkpoints in WORKDIR/checkpoints that were written to the end, in no order."""
    return list(ocp.utils.checkpoint_steps(directory.absolute())) if directory.is_dir() else []


def restore(
    workdir: Path, identity: Identity, like: TrainState, step: int | None = None
) -> TrainState:
    """Reads a checkpoint, written on any number of devices, in any precision. Changes nothing on disk.

    Args:
      workdir: Of the run that wrote it.
      identity: Of the model that is to continue.
      like: A state with the wanted shapes and shardings; of its values, only the loss scale is used, where the
        checkpoint has none.
      step: Of the checkpoint, from ``latest_step``; None for the newest, unverified.

    Raises:
      RequestError: If the checkpoint is of another model or optimizer.
    """
    with _reader(workdir) as manager:
        step = manager.latest_step() if step is None else step
        where = workdir / DIRECTORY / str(step)
        saved = manager.restore(step, args=ocp.args.Composite(identity=ocp.args.JsonRestore()))
        _check_identity(where, Identity(**saved["identity"]), identity)
        metadata = manager.item_metadata(step)["state"].tree
        wanted = _settle_loss_scale(where, metadata, like)
        _check_shapes(where, metadata, wanted)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, wanted)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        restored = manager.restore(step, args=args)["state"]
    return _from_names({LOSS_SCALE: like.loss_scale} | restored, like)


def _reader(workdir: Path) -> ocp.CheckpointManager:
    """Opens the checkpoints for reading; it writes nothing unless asked to."""
    handlers = {"state": ocp.StandardCheckpointHandler(), "identity": ocp.JsonCheckpointHandler()}
    options = ocp.CheckpointManagerOptions(create=False)
    directory = (workdir / DIRECTORY).absolute()
    return ocp.CheckpointManager(directory, item_handlers=handlers, options=options)


def to_names(state: TrainState) -> dict[str, Any]:
    """Returns the state as nested dicts, so that a checkpoint does not depend on Optax's classes."""
    flat = {_names(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
    return traverse_util.unflatten_dict(flat)


def _from_names(named: dict[str, Any], like: TrainState) -> TrainState:
    flat = traverse_util.flatten_dict(named)
    return jax.tree_util.tree_map_with_path(lambda path, _: flat[_names(path)], like)


def _names(path: Any) -> tuple[str, ...]:
    return tuple(jax.tree_util.keystr((entry,), simple=True) for entry in path)


def _settle_loss_scale(where: Path, metadata: Any, like: TrainState) -> dict[str, Any]:
    """Returns what to read for ``like``: with a loss scale if there is one, without if not, and tells of a difference.

    It comes and goes with the precision, which "auto" takes from the device.
    """
    wanted = to_names(like)
    if (LOSS_SCALE in metadata) == (LOSS_SCALE in wanted):
        return wanted
    tell = _log.warning if jax.process_index() == 0 else _log.debug
    if own := wanted.pop(LOSS_SCALE, None):
        text = "%s has no loss scale, and this run has one, as float16 does: it begins at %g"
        tell(text, where, own["scale"].item())
        return wanted
    tell("%s has a loss scale, as float16 does, and this run has none: it is left out", where)
    scalars = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=like.step.sharding)
        for name, leaf in metadata[LOSS_SCALE].items()
    }
    return {**wanted, LOSS_SCALE: scalars}


def _check_identity(where: Path, saved: Identity, wanted: Identity) -> None:
    if saved == wanted:
        return
    differences = [
        f"{field.name} {getattr(saved, field.name)!r} there, {getattr(wanted, field.name)!r} here"
        for field in dataclasses.fields(Identity)
        if field.compare and getattr(saved, field.name) != getattr(wanted, field.name)
    ]
    hint = f": add --config.model.variant={saved.variant}" * (saved.variant != wanted.variant)
    raise RequestError(
        f"{where} is a checkpoint of another model ({'; '.join(differences)}); choose another --workdir, or the "
        f"configuration that wrote it{hint}."
    )


def _check_shapes(where: Path, metadata: Any, wanted: dict[str, Any]) -> None:
    saved = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(metadata).items()}
    shapes = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(wanted).items()}
    differences = [
        f"{'/'.join(path)} is {saved.get(path, 'missing')} there, {shapes.get(path, 'unknown')} here"
        for path in sorted(saved.keys() | shapes.keys())
        if saved.get(path) != shapes.get(path)
    ]
    if differences:
        shown = "; ".join(differences[:5]) + (
            f"; and {len(differences) - 5} more" * (len(differences) > 5)
        )
        raise RequestError(
            f"{where} does not fit this model and optimizer: {shown}. Choose another --workdir, or the configuration "
            "that wrote it."
        )
