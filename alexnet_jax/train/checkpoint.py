"""Saving and restoring the training state with Orbax."""

import dataclasses
import itertools
import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from alexnet_jax.errors import RequestError, RunError
from alexnet_jax.train import checksums
from alexnet_jax.train.metrics import Averages
from alexnet_jax.train.orbax_errors import end_failed_writes, quiet_background_errors, reason
from alexnet_jax.train.state import TrainState

DIRECTORY = "checkpoints"
LOSS_SCALE = "loss_scale"  # of ``TrainState``
TMP_DIR_SUFFIX = ".orbax-checkpoint-tmp"  # Orbax's, of a directory that is being written

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


class Checkpoints:
    """The checkpoints of one run, in ``WORKDIR/checkpoints/STEP``.

    Writing is asynchronous and atomic: a checkpoint has its final name only when it is complete, with the sums of its
    files in it. A save that fails is warned of, and the run goes on; too many in a row end it.
    """

    def __init__(
        self,
        workdir: Path,
        identity: Identity,
        *,
        keep: int,
        keep_best: bool,
        max_failed_saves: int = 0,
    ):
        """Opens the directory for writing, creates it, and clears away what a killed save left behind.

        Args:
          workdir: Of the run.
          identity: Of the model.
          keep: How many of the newest to keep.
          keep_best: Whether to keep, besides, the one with the highest evaluated top1.
          max_failed_saves: So many in a row are borne.
        """
        self._directory = (workdir / DIRECTORY).absolute()
        self._identity, self._keep, self._keep_best = identity, keep, keep_best
        self._max_failed_saves, self._failed_saves = max_failed_saves, 0
        self._saving: int | None = None
        quiet_background_errors()
        self._manager: ocp.CheckpointManager | None = self._open()

    def save(self, step: int, state: TrainState, metrics: Averages | None) -> None:
        """Copies the state off the devices and writes it in the background.

        Args:
          step: Steps done.
          state: To save; it may be donated once this returns.
          metrics: Of an evaluation of just this state.

        Raises:
          RunError: If more saves in a row failed than are borne.
        """
        self.wait()
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(_to_names(state)),
            identity=ocp.args.JsonSave(dataclasses.asdict(self._identity)),
        )
        values = metrics._asdict() if metrics is not None else None
        try:
            if self._manager is None:
                self._manager = self._open()
            if step in self._manager.all_steps():
                return
            self._saving = step
            self._manager.save(step, args=items, metrics=values)
        except Exception as error:  # Orbax raises many types
            self._failed(step, error)

    def wait(self) -> None:
        """Waits until everything is written.

        Raises:
          RunError: If more saves in a row failed than are borne.
        """
        if self._saving is None or self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # Orbax raises many types
            self._failed(self._saving, error)
        else:
            self._complete_sums(self._saving)
            self._saving, self._failed_saves = None, 0

    def close(self) -> None:
        """Waits until everything is written, and lets go of the directory.

        Raises:
          RunError: If more saves in a row failed than are borne.
        """
        self.wait()
        if self._manager is not None:
            self._manager.close()

    def require_saved(self) -> None:
        """Waits until everything is written.

        Raises:
          RunError: If the last save failed, so that what was trained since is not there.
        """
        self.wait()
        if self._failed_saves:
            raise RunError(f"The last save failed: {self._what_is_left()}")

    def _open(self) -> ocp.CheckpointManager:
        policies: list[Any] = [checkpoint_managers.LatestN(self._keep)]
        if self._keep_best:
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
            async_options=ocp.AsyncOptions(post_finalization_callback=self._write_sums),
        )
        return ocp.CheckpointManager(self._directory, options=options)

    def _write_sums(self) -> None:
        """Called by Orbax, in one process, when all files are there and before the directory gets its final name."""
        (directory,) = self._directory.glob(f"{self._saving}{TMP_DIR_SUFFIX}*")
        checksums.write(directory, without=checksums.WRITTEN_LAST)

    def _complete_sums(self, step: int) -> None:
        if jax.process_index() > 0:
            return
        try:
            checksums.complete(self._directory / str(step))
        except OSError as error:  # the checkpoint itself is there
            _log.warning("sums of step %d lack the last files (%s)", step, error.strerror)

    def _failed(self, step: int, error: Exception) -> None:
        if jax.process_count() > 1:
            raise error  # the others wait for this process; the job ends and its next start continues
        # What a failed save leaves behind is cleared away, and forgotten, by opening the directory anew.
        self._manager, self._saving = None, None
        end_failed_writes()
        self._clear_unfinished()
        self._failed_saves += 1
        _log.warning(
            "save of step %d failed (%d in a row; %d are borne): %s",
            *(step, self._failed_saves, self._max_failed_saves, reason(error)),
        )
        if self._failed_saves > self._max_failed_saves:
            raise RunError(
                f"{self._failed_saves} saves in a row failed, more than "
                f"checkpoint.max_failed_saves={self._max_failed_saves} allows: {self._what_is_left()}"
            )

    def _clear_unfinished(self) -> None:
        for path in self._directory.glob(f"*{TMP_DIR_SUFFIX}*"):
            shutil.rmtree(path, ignore_errors=True)  # it may have become read-only

    def _what_is_left(self) -> str:
        steps = _complete_steps(self._directory)
        newest = f"the newest checkpoint is of step {max(steps)}" if steps else "there is none"
        return f"{newest} in {self._directory}. Make room or make it writable, and start again to continue."


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


_NO_STEP, _ALL_DAMAGED = -1, -2
DAMAGED_SUFFIX = ".damaged"


def _newest_sound(directory: Path, set_aside: bool) -> int:
    damaged: dict[int, str] = {}
    newest = _NO_STEP
    for step in sorted(_complete_steps(directory), reverse=True):
        where = directory / str(step)
        damage = _damage(where)
        if not damage:
            newest = step
            break
        damaged[step] = damage
    if damaged and newest == _NO_STEP:
        newest = _ALL_DAMAGED
    for step, damage in damaged.items():
        where, what = directory / str(step), "passed over"
        if set_aside and newest != _ALL_DAMAGED:
            aside = _free_name(where.with_name(f"{step}{DAMAGED_SUFFIX}"))
            where.rename(aside)
            what = f"set aside as {aside.name}"
        _log.warning("checkpoint %s is damaged and %s: %s", where, what, damage)
    return newest


def _damage(where: Path) -> str:
    return checksums.find_damage(where) if checksums.exist(where) else ""


def require_sound(where: Path) -> None:
    """Returns if a checkpoint that somebody named is complete and as it was written.

    Args:
      where: WORKDIR/checkpoints/STEP.

    Raises:
      RequestError: If it is not.
    """
    if int(where.name) not in _complete_steps(where.parent) or not (where / "state").is_dir():
        raise RequestError(f"{where} is no complete checkpoint; name another, or the workdir.")
    if damage := _damage(where):
        raise RequestError(
            f"{where} is damaged ({damage}); name another checkpoint, or the workdir for its newest sound one."
        )


def _free_name(path: Path) -> Path:
    names = itertools.chain(
        [path], (path.with_name(f"{path.name}-{n}") for n in itertools.count(2))
    )
    return next(name for name in names if not name.exists())


def _complete_steps(directory: Path) -> list[int]:
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


def _to_names(state: TrainState) -> dict[str, Any]:
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
    wanted = _to_names(like)
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
