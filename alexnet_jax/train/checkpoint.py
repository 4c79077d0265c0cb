"""Saving and restoring the training state with Orbax."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from alexnet_jax.errors import RequestError
from alexnet_jax.train.metrics import Averages
from alexnet_jax.train.state import TrainState

DIRECTORY = "checkpoints"


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


class Checkpoints:
    """The checkpoints of one run, in ``WORKDIR/checkpoints/STEP``.

    Writing is asynchronous and atomic: a checkpoint has its final name only when it is complete.
    """

    def __init__(self, workdir: Path, identity: Identity, *, keep: int, keep_best: bool):
        """Opens the directory for writing, creates it, and clears away what a killed save left behind.

        Args:
          workdir: Of the run.
          identity: Of the model.
          keep: How many of the newest to keep.
          keep_best: Whether to keep, besides, the one with the highest evaluated top1.
        """
        policies: list[Any] = [checkpoint_managers.LatestN(keep)]
        if keep_best:
            policies.append(
                checkpoint_managers.BestN(
                    get_metric_fn=lambda metrics: metrics["top1"],
                    n=1,
                    keep_checkpoints_without_metrics=False,
                )
            )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=True,
        )
        self._identity = identity
        self._manager = ocp.CheckpointManager((workdir / DIRECTORY).absolute(), options=options)

    def save(self, step: int, state: TrainState, metrics: Averages | None) -> None:
        """Copies the state off the devices and writes it in the background.

        Args:
          step: Steps done.
          state: To save; it may be donated once this returns.
          metrics: Of an evaluation of just this state.
        """
        if step in self._manager.all_steps():
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(_to_names(state)),
            identity=ocp.args.JsonSave(dataclasses.asdict(self._identity)),
        )
        values = metrics._asdict() if metrics is not None else None
        self._manager.save(step, args=items, metrics=values)

    def close(self) -> None:
        """Waits until everything is written."""
        self._manager.close()


def latest_step(workdir: Path) -> int | None:
    """Returns the step of the newest complete checkpoint of a workdir, None where there is none.

    All processes of a job get the first one's answer: it may have begun to write already when others look.
    """
    directory = workdir / DIRECTORY
    steps = ocp.utils.checkpoint_steps(directory.absolute()) if directory.is_dir() else []
    newest = max(steps, default=_NO_STEP)
    if jax.process_count() > 1:
        newest = int(multihost_utils.broadcast_one_to_all(np.int32(newest)))
    return None if newest == _NO_STEP else newest


_NO_STEP = -1


def restore(workdir: Path, identity: Identity, like: TrainState) -> TrainState:
    """Reads the newest checkpoint, written on any number of devices. Changes nothing on disk.

    Args:
      workdir: Of the run that wrote it.
      identity: Of the model that is to continue.
      like: A state with the wanted shapes and shardings; its values are not used.

    Raises:
      RequestError: If the checkpoint is of another model or optimizer.
    """
    with _reader(workdir) as manager:
        step = manager.latest_step()
        where = workdir / DIRECTORY / str(step)
        saved = manager.restore(step, args=ocp.args.Composite(identity=ocp.args.JsonRestore()))
        _check_identity(where, Identity(**saved["identity"]), identity)
        wanted = _to_names(like)
        _check_shapes(where, manager.item_metadata(step)["state"].tree, wanted)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, wanted)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        restored = manager.restore(step, args=args)["state"]
    return _from_names(restored, like)


def _reader(workdir: Path) -> ocp.CheckpointManager:
    """Opens the checkpoints for reading; it writes nothing unless asked to."""
    handlers = {"state": ocp.StandardCheckpointHandler(), "identity": ocp.JsonCheckpointHandler()}
    options = ocp.CheckpointManagerOptions(create=False)
    directory = (workdir / DIRECTORY).absolute()
    return ocp.CheckpointManager(directory, item_handlers=handlers, options=options)


def _to_names(state: TrainState) -> dict[str, Any]:
    """Returns the state as nested dicts, so that a checkpoint does not depend on Optax's classes."""
    flat = {_names(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
    return traverse_util.unflatten_dict(flat)


def _from_names(named: dict[str, Any], like: TrainState) -> TrainState:
    flat = traverse_util.flatten_dict(named)
    return jax.tree_util.tree_map_with_path(lambda path, _: flat[_names(path)], like)


def _names(path: Any) -> tuple[str, ...]:
    return tuple(jax.tree_util.keystr((entry,), simple=True) for entry in path)


def _check_identity(where: Path, saved: Identity, wanted: Identity) -> None:
    if saved == wanted:
        return
    differences = [
        f"{field.name} {getattr(saved, field.name)!r} there, {getattr(wanted, field.name)!r} here"
        for field in dataclasses.fields(Identity)
        if field.compare and getattr(saved, field.name) != getattr(wanted, field.name)
    ]
    raise RequestError(
        f"{where} is a checkpoint of another model ({'; '.join(differences)}); choose another --workdir, or the "
        "configuration that wrote it."
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
