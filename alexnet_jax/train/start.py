"""Where a run starts from: its newest checkpoint, the weights of a file or of another run, or drawn parameters."""

from pathlib import Path

import jax

from alexnet_jax.errors import RequestError
from alexnet_jax.train import checkpoint, starting_weights, trained_run
from alexnet_jax.train.experiment import Experiment
from alexnet_jax.train.state import TrainState


def starting_point(
    experiment: Experiment, workdir: Path, step: int | None
) -> tuple[TrainState, int, tuple[str, ...]]:
    """Returns the state to start from, its step, and what to tell of it.

    Args:
      experiment: To run.
      workdir: Of the run.
      step: Its newest checkpoint's; None for none.

    Raises:
      RequestError: If that is of another model, a longer run or other classes, or ``init_weights`` do not fit.
    """
    if step is not None:
        state = checkpoint.restore(workdir, experiment.identity, experiment.initial_state, step)
        if step > experiment.total_steps:
            raise RequestError(
                f"{workdir} has trained {step} steps already, more than the {experiment.total_steps} of this "
                "configuration; raise num_epochs or choose another --workdir."
            )
        try:
            change = trained_run.renamed_class(workdir, experiment.sources["train"].class_names)
        except RequestError as damaged:
            return state, step, (f"note: {damaged} The names of these data are noted anew.",)
        if change:
            raise RequestError(
                f"{workdir} was trained to tell other classes: {change}; choose another --workdir, or, where they are "
                f"the same and only called otherwise, remove {workdir / trained_run.CLASSES_FILE}."
            )
        return state, step, ()
    config, identity = experiment.config, experiment.identity
    path, frozen = Path(config.init_weights), tuple(config.optimizer.freeze)
    if not config.init_weights:
        starting_weights.check_frozen("", frozen, identity, None)
        return experiment.initial_state, 0, ()
    weights = starting_weights.read(path, identity, any_classes=True)
    starting_weights.check_frozen(str(path), frozen, identity, weights.num_classes)
    state = starting_weights.place(weights, experiment.initial_state)
    notes = starting_weights.other_normalisation(
        path, identity.image_size, mean=config.data.mean, std=config.data.std
    )
    return state, 0, (starting_weights.describe(path, weights, identity), *notes)


def starting_step(experiment: Experiment, workdir: Path) -> int:
    """Returns the step from which a run would continue, 0 for a new one. Changes nothing on disk.

    Raises:
      RequestError: If it can neither begin with its starting weights nor continue its checkpoint, as a run would.
    """
    _, step, _ = starting_point(experiment, workdir, checkpoint.latest_step(workdir))
    return step


def free_unused(initial: TrainState, state: TrainState) -> None:
    """Frees what the state to start from does not hold; a run that starts with it consumes it in its first step."""
    used = {id(leaf) for leaf in jax.tree.leaves(state)}
    for leaf in jax.tree.leaves(initial):
        if id(leaf) not in used:
            leaf.delete()
