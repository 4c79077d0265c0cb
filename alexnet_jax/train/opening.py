"""What a run says before its first step, in at most eight lines."""

from pathlib import Path

import numpy as np

from alexnet_jax.backend.capabilities import describe_limits, own_device
from alexnet_jax.data.checks import class_counts
from alexnet_jax.train.experiment import Experiment


def opening(
    experiment: Experiment, workdir: Path, recipe: str, start_step: int, changed: list[str]
) -> list[str]:
    """Returns the lines.

    Args:
      experiment: About to run.
      workdir: Where it writes.
      recipe: Its file, as the command line named it; empty for none.
      start_step: Of the checkpoint it continues from; 0 for a new run.
      changed: Which settings differ from those of the start before.
    """
    config, devices = experiment.config, experiment.devices
    limits = describe_limits(own_device(devices))
    reason = experiment.parallelism_reason
    rows = {
        "variant": f"{config.model.variant}, {config.model.num_classes} classes",
        "recipe": recipe,
        "data": _data(experiment),
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"
        + (f"; {limits}" if limits else ""),
        "strategy": f"{experiment.parallelism}, batch {config.batch_size}, {_count(experiment.total_steps, 'step')} in "
        f"{_count(config.num_epochs, 'epoch')}" + (f"; {reason}" if reason else ""),
        "precision": experiment.precision,
        "writes to": str(workdir),
    }
    if start_step:
        rows["continues"] = f"from step {start_step}"
        if start_step == experiment.total_steps:
            rows["continues"] += ", the last: nothing is left to train"
        if changed:
            rows["continues"] += f"; changed since its last start: {', '.join(changed)}"
        if any(change.startswith("init_weights:") for change in changed):
            rows["continues"] += "; these weights are not read, another --workdir starts from them"
    else:
        weights = config.init_weights
        rows["begins"] = (
            f"with the weights of {weights}" if weights else f"anew, seed {config.seed}"
        )
    return [f"{name:<9} {text}" for name, text in rows.items() if text]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _data(experiment: Experiment) -> str:
    sizes = {split: len(source) for split, source in experiment.sources.items()}
    text = (
        f"{experiment.config.data.source}, {sizes['train']:,} training and {sizes['eval']:,} "
        "evaluation images"
    )
    counts = class_counts(experiment.sources["train"])
    return text if counts is None else f"{text}; {_spread(counts)}"


def _spread(counts: np.ndarray) -> str:
    """Returns how many examples the classes have."""
    least, most = counts.min(), counts.max()
    if least == most:
        return f"{most} of each class"
    if least:
        return f"{least} to {most} of a class"
    return f"up to {most} of a class, none of {(counts == 0).sum():,} classes"
