"""How fast images reach the network, measured part by part and all together."""

import concurrent.futures
import itertools
import os
import time
from collections.abc import Callable, Generator
from typing import Any

import jax
import numpy as np

from alexnet_jax.data.sources.base import InMemory, Source
from alexnet_jax.randomness import example_keys
from alexnet_jax.train.augment import Transform
from alexnet_jax.train.experiment import Experiment

READ_AHEAD = 256  # encoded images held while decoding is measured


def measure_input(run: Experiment, transform: Transform, *, seconds: float) -> dict[str, Any]:
    """Measures each part of the way from the data set to the network's input for about ``seconds``.

    Args:
      run: Whose training data, decoder, batches and devices are used; nothing is trained.
      transform: What happens on the device.
      seconds: For each part.

    Returns:
      The figures of ``benchmark input``, in images per second: "read" (files or records, for encoded images), "decode",
      "gather" (for arrays, in place of the two), "transfer" to the devices, "augment" there, and "together" as a run
      does it, with "cpu_seconds_per_image". A part that the data do not have is None.
    """
    source, batch_size = run.sources["train"], run.config.batch_size
    host = first_batch(run)
    placed = run.place_batch("train", host)
    step = jax.jit(lambda batch: _augmented(transform, run.config.seed, batch))
    timed = {
        "transfer": lambda: jax.block_until_ready(run.place_batch("train", host)),
        "augment": lambda: jax.block_until_ready(step(placed)),
    }
    rates = {name: batch_size * _calls_per_second(call, seconds) for name, call in timed.items()}
    figures = {"source": run.config.data.source, **_host_rates(run, source, seconds), **rates}
    together, cpu = _together(run, step, seconds)
    return {**figures, "together": together, "cpu_seconds_per_image": cpu}


def first_batch(run: Experiment) -> Any:
    """Returns the first training batch, on the host."""
    batches = run.train_batches(0)
    batch = next(batches)
    batches.close()
    return batch


def host_batches(run: Experiment, seconds: float) -> tuple[float, float]:
    """Returns images per second and CPU seconds per image of batches on the host, as many threads as a run has."""
    batches = _endless(run)
    next(batches)
    count, start, cpu = 0, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - start) < seconds or not count:
        next(batches)
        count += run.config.batch_size
    cpu = time.process_time() - cpu
    batches.close()
    return count / passed, cpu / count


def _augmented(transform: Transform, seed: int, batch: Any) -> jax.Array:
    if batch["row"].ndim == 2:  # under pmap, which has an axis of devices before that of rows
        batch = {name: x.reshape(-1, *x.shape[2:]) for name, x in batch.items()}
    keys = example_keys(seed, jax.numpy.int32(0), batch["row"])
    return transform(batch["image"], keys, batch.get("shape"))


def _host_rates(run: Experiment, source: Source, seconds: float) -> dict[str, float | None]:
    """Returns the rates of reading and decoding, or of gathering, as many threads as a run has."""
    size = run.config.batch_size
    steps = itertools.count()
    if isinstance(source, InMemory):

        def gather() -> None:
            source.gather(run.train_order.indices(next(steps)))

        return {"read": None, "decode": None, "gather": size * _calls_per_second(gather, seconds)}

    decoder = run.decoders["train"]
    assert decoder is not None, "a source of encoded images needs a decoder"
    threads = run.config.data.num_threads or os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:

        def read() -> list[Any]:
            indices = run.train_order.indices(next(steps)).tolist()
            return list(pool.map(lambda index: source[index]["image"], indices))

        encoded = read()[:READ_AHEAD]

        def decode() -> None:
            draws = (np.random.Generator(np.random.Philox(n)) for n in range(len(encoded)))
            list(pool.map(decoder, encoded, draws))

        return {
            "read": size * _calls_per_second(read, seconds),
            "decode": len(encoded) * _calls_per_second(decode, seconds),
            "gather": None,
        }


def _calls_per_second(call: Callable[[], Any], seconds: float) -> float:
    call()
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds or not count:
        call()
        count += 1
    return count / passed


def _together(
    run: Experiment, step: Callable[[Any], jax.Array], seconds: float
) -> tuple[float, float]:
    """Returns images per second and CPU seconds per image from the data set to the network's input."""
    batches = _endless(run)
    pending = step(run.place_batch("train", next(batches)))
    jax.block_until_ready(pending)
    count, start, cpu = 0, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - start) < seconds or not count:
        following = step(run.place_batch("train", next(batches)))
        jax.block_until_ready(pending)  # one step behind, as the loop
        pending = following
        count += run.config.batch_size
    jax.block_until_ready(pending)
    passed, cpu = time.perf_counter() - start, time.process_time() - cpu
    batches.close()
    return count / passed, cpu / count


def _endless(run: Experiment) -> Generator[Any]:
    while True:
        yield from run.train_batches(0)
