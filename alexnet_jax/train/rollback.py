"""Back to the last checkpoint with a lower learning rate, after numbers that were not finite."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from alexnet_jax.train import experiment as experiments
from alexnet_jax.train.experiment import Experiment
from alexnet_jax.train.health import NonFiniteError
from alexnet_jax.train.writers import METRICS_FILE, read_metrics

EVENT = "rollback"


def count(workdir: Path, start_step: int) -> int:
    """Returns how often the run has gone back until ``start_step``, by its ``metrics.jsonl``.

    What was recorded after it does not count: that part of the run is trained again.
    """
    times = 0
    if jax.process_index() == 0 and (workdir / METRICS_FILE).exists():
        before = (record for record in read_metrics(workdir) if record["step"] <= start_step)
        counts = (r.get("rollbacks") for r in before if r.get("event") == EVENT)
        times = max((each for each in counts if isinstance(each, int)), default=0)
    if jax.process_count() > 1:
        times = int(multihost_utils.broadcast_one_to_all(np.int32(times)))
    return times


def event(health: Any, fault: NonFiniteError, times: int) -> dict[str, Any]:
    """Returns the record of going back for the ``times``-th time.

    Raises:
      NonFiniteError: ``fault``, if the settings do not allow it.
    """
    if health.on_nonfinite != "rollback":
        raise fault
    if times > health.max_rollbacks:
        raise NonFiniteError(fault.step, fault.tensor, fault.what, f" after {times - 1} rollbacks")
    factor = health.rollback_factor**times
    return {**fault.event, "event": EVENT, "rollbacks": times, "learning_rate_factor": factor}


def note(health: Any, times: int) -> str:
    """Returns a line that says at which learning rate a run goes on that went back so often."""
    return f"goes on at {health.rollback_factor**times:g} times the learning rate, after {times} rollbacks"


def rebuild(experiment: Experiment, times: int) -> Experiment:
    """Returns the run from its start, with the learning rate of one that went back so often.

    The data that lie on the devices, and the count of broken images, are the run's own.
    """
    config = experiment.config.copy_and_resolve_references()
    config.optimizer.learning_rate *= config.health.rollback_factor**times
    slower = experiments.build(
        config, experiment.sources, experiment.devices, resident=experiment.resident
    )
    return dataclasses.replace(slower, config=experiment.config, broken=experiment.broken)
