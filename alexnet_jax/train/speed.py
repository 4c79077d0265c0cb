"""How fast the training step is, measured, and what it moves."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from alexnet_jax.model.summary import Summary, summarize
from alexnet_jax.train import ceilings
from alexnet_jax.train.collectives import sent_bytes
from alexnet_jax.train.experiment import Experiment
from alexnet_jax.train.parts import DTYPES, image_size
from alexnet_jax.train.timing import WARM_UP_ROUNDS, median_seconds


class Training:
    """A compiled training step and the state it has come to."""

    def __init__(self, run: Experiment, batch: Any):
        """Compiles.

        Args:
          run: What to train. Its initial state is consumed.
          batch: A placed training batch.
        """
        self._run = run
        self._state = run.initial_state
        self.compiled = run.train_step.lower(self._state, batch).compile()

    def step(self, batch: Any) -> Any:
        """Dispatches a step on a placed batch and returns its sums, which may not be there yet."""
        self._state, sums = self.compiled(self._state, batch)
        return sums

    def wait(self) -> None:
        """Waits for what was dispatched."""
        jax.block_until_ready(self._state)

    def images_per_second(self, seconds: float) -> float:
        """Trains from the data for about ``seconds``, as a run does, and returns the images a second."""
        run, done, first, pending = self._run, 0, 0, None
        batches = run.train_batches(0)
        for dispatch, ((before, after), batch) in enumerate(
            zip(run.spans(0), batches, strict=True)
        ):
            sums = self.step(run.place_batch("train", batch))
            jax.block_until_ready(pending)  # one dispatch behind, as the loop
            pending, done = sums, done + after - before
            if dispatch + 1 == WARM_UP_ROUNDS:
                self.wait()
                first, start = done, time.perf_counter()
            elif dispatch >= WARM_UP_ROUNDS and time.perf_counter() - start > seconds:
                break
        self.wait()
        passed = time.perf_counter() - start
        batches.close()
        return (done - first) * run.config.batch_size / passed


def measure_step(
    run: Experiment,
    batch: Any,
    *,
    steps: int,
    floors: bool = False,
    beside: Mapping[str, Callable[[], Any]] | None = None,
) -> dict[str, Any]:
    """Times the training step on one batch that stays on the devices.

    Args:
      run: What to train. Its initial state is consumed.
      batch: A placed training batch.
      steps: How many steps to time; 0 compiles only, and leaves the times out as None.
      floors: Whether to add the least times that the devices' arithmetic and their memory allow.
      beside: Other programs' steps, by name, timed in turns with ours; "NAME_images_per_second" is added for each, and
        "times_NAME", how many times as fast ours is.

    Returns:
      The figures of ``benchmark step``, see ``step_figures``.
    """
    training = Training(run, batch)
    if not steps:
        return step_figures(run, training, None)
    calls = {"": lambda: jax.block_until_ready(training.step(batch)), **(beside or {})}
    seconds = median_seconds(calls, steps)
    figures = step_figures(run, training, seconds[""], floors=floors)
    for name in beside or {}:
        figures[f"{name}_images_per_second"] = run.config.batch_size / seconds[name]
        figures[f"times_{name}"] = seconds[name] / seconds[""]
    return figures


def step_figures(
    run: Experiment, training: Training, seconds: float | None, *, floors: bool = False
) -> dict[str, Any]:
    """Returns the figures of ``benchmark step``.

    ``flops_per_image`` counts two operations a multiply-accumulate, forward, and backward for inputs and weights;
    ``model_flops_utilization`` is its share of the rate of a large matrix product, measured on the first device in the
    same precision. The floors are the times of that many operations at that rate, and of ``ceilings.step_bytes`` at
    the rate of a large copy. Those are the operations of sums over pixels: the fast layers take fewer in float32, and
    could fall below the first floor.

    Args:
      run: What is trained.
      training: Its compiled step.
      seconds: The step's; None for not measured.
      floors: Whether to measure and add them.
    """
    config, summary = run.config, _summary(run)
    flops = ceilings.flops_per_image(summary)
    figures: dict[str, Any] = {
        "variant": config.model.variant,
        "batch_size": config.batch_size,
        "precision": run.precision,
        "parallelism": run.parallelism,
        "devices": len(run.devices),
        "images_per_second": None,
        "step_milliseconds": None,
        "collective_bytes": sum(sent_bytes(training.compiled.as_text(), len(run.devices)).values()),
        "flops_per_image": flops,
        "model_flops_utilization": None,
    }
    if seconds is None:
        return figures
    dtype = DTYPES[run.precision]
    peak = ceilings.matrix_product_flops(run.devices[0], dtype) * len(run.devices)
    figures |= {
        "images_per_second": config.batch_size / seconds,
        "step_milliseconds": 1e3 * seconds,
        "model_flops_utilization": config.batch_size * flops / seconds / peak,
    }
    if floors:
        rows = config.batch_size // len(run.devices)
        moved = ceilings.step_bytes(summary, rows, jax.numpy.dtype(dtype).itemsize)
        copied = ceilings.copy_bytes_per_second(run.devices[0])
        figures["arithmetic_floor_milliseconds"] = 1e3 * config.batch_size * flops / peak
        figures["bandwidth_floor_milliseconds"] = 1e3 * moved / copied
    return figures


def _summary(run: Experiment) -> Summary:
    config = run.config
    return summarize(
        config.model.variant, image_size=image_size(config), num_classes=config.model.num_classes
    )
