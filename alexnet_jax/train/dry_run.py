"""Compiles a run's steps ahead of time and says how much memory they will need; trains and writes nothing."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from alexnet_jax.backend.capabilities import memory_bytes, own_device
from alexnet_jax.errors import RequestError
from alexnet_jax.train.experiment import Experiment


def dry_run(experiment: Experiment, workdir: Path, start_step: int) -> None:
    """Prints the expected peak memory of the training and the evaluation step, each compiled for a real batch.

    Args:
      experiment: Ready to start.
      workdir: Where the run would write; not touched.
      start_step: Of the checkpoint it would continue from; 0 for a new run.

    Raises:
      RequestError: If a step needs more memory than its device has.
    """
    leader = jax.process_index() == 0
    available = memory_bytes(own_device(experiment.devices))
    for name, step, batch in _steps(experiment):
        start = time.perf_counter()
        compiled = step.lower(experiment.initial_state, batch).compile()
        seconds, needed = time.perf_counter() - start, expected_memory_bytes(compiled)
        if leader:
            print(f"{name} step: compiled in {seconds:.1f} s; {describe(needed, available)}")
        if needed is not None and available is not None and needed > available:
            raise RequestError(
                f"the {name} step needs {describe(needed, available)}; use a smaller batch_size or a larger "
                "optimizer.accumulate_steps."
            )
    if leader:
        total = experiment.total_steps
        done = f", which has done {start_step} of {total}" if start_step else ""
        print(f"dry run: {total - start_step} steps would be trained in {workdir}{done}")


def expected_memory_bytes(compiled: Any) -> int | None:
    """Returns the most memory a compiled step will hold on a device, its arguments included; None where not known.

    Data that lie on the device are arguments; what the process holds besides is not counted.
    """
    sizes = compiled.memory_analysis()
    if sizes is None:
        return None
    kept = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return kept + sizes.temp_size_in_bytes + sizes.generated_code_size_in_bytes


def describe(needed: int | None, available: int | None) -> str:
    """Returns the expected peak in words, and what the device has where it says."""
    if needed is None:
        return "expected peak memory: this platform does not say"
    limit = f" of {available / 1e9:.2f} GB" if available is not None else ""
    return f"expected peak memory: {needed / 1e9:.3f} GB{limit} on each device"


def _steps(experiment: Experiment) -> Iterator[tuple[str, Any, Any]]:
    batches = experiment.train_batches(0)
    batch = experiment.place_batch("train", next(batches))
    batches.close()
    yield "training", experiment.train_step, batch
    yield "evaluation", experiment.eval_step, next(iter(experiment.eval_batches()))
