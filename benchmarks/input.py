"""Images per CPU-second: tf.data's JPEG pipeline, ours, and packed pixels, on the same files.

    python benchmarks/input.py DIR

DIR holds train/ and val/ with class folders of JPEGs. tf.data is measured where TensorFlow is installed. Rounds
alternate between the paths; the medians of one run are printed, and how much faster two threads decode than one, round
by round. What a path has loaded ahead between its rounds is taken before the clock starts. Two processes that share
nothing, decoding over one alone, tell how much of two threads' gain the machine allows.
"""

import argparse
import concurrent.futures
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.backend import memory
from alexnet_jax.data import decode, pack, pipeline
from alexnet_jax.data.order import TrainOrder
from alexnet_jax.data.sources import folder, packed
from alexnet_jax.data.sources.base import SPLITS, Source, SourceSettings
from alexnet_jax.train import peer_tf_data

SIZE = 224
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
BATCH = 64
PAUSE_SECONDS = 1.5  # until the path before has filled its buffers
LOADED_AHEAD = 8  # batches, at most
ONE_THREAD, TWO_THREADS = "JPEG, 1 thread", "JPEG, 2 threads"


def tf_data(source: Any, threads: int, *, antialias: bool) -> Iterator[Any]:
    """Yields batches of tf.data: crop while decoding, bilinear resize, flip."""
    names = [source.describe(index) for index in range(len(source))]
    return peer_tf_data.batches(
        names,
        batch_size=BATCH,
        size=SIZE,
        area=AREA,
        aspect=ASPECT,
        threads=threads,
        antialias=antialias,
    )


def ours(source: Source, threads: int) -> Iterator[Any]:
    """Yields batches of the trainer's own pipeline."""
    encoded = isinstance(source, folder.FolderSource)
    return pipeline.iterate(
        source,
        TrainOrder(len(source), BATCH, 0),
        start_step=0,
        stop_step=10**6,
        rows=slice(0, BATCH),
        decoder=decode.random_resized_crop(SIZE, AREA, ASPECT) if encoded else None,
        seed=0,
        num_threads=threads,
    )


def rates(batches: Iterator[Any], seconds: float) -> tuple[float, float]:
    """Returns images per CPU-second and per second."""
    for _ in range(LOADED_AHEAD):
        next(batches)
    start, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        count += BATCH
    return count / (time.process_time() - cpu), count / (time.perf_counter() - start)


_encoded: list[bytes] = []  # in a process that only decodes


def load(path: str) -> None:
    """Reads a process's files."""
    memory.keep_freed_memory()
    files = folder.open_split(settings(path), "train")
    _encoded.extend(files[index]["image"] for index in range(len(files)))


def decode_alone(seconds: float) -> float:
    """Decodes in this process, and returns images per second."""
    decoder, generator = decode.random_resized_crop(SIZE, AREA, ASPECT), np.random.default_rng(0)
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        decoder(_encoded[count % len(_encoded)], generator)
        count += 1
    return count / passed


def settings(path: str) -> SourceSettings:
    """Returns how to open a directory."""
    return SourceSettings(path=path, image_size=SIZE, num_classes=2, synthetic_examples=1, seed=0)


def open_sources(path: str, out: Path) -> tuple[Source, Source]:
    """Opens the files, and packs them and opens that."""
    files = {split: folder.open_split(settings(path), split) for split in SPLITS}
    pack.pack(pack.Request(path, files, 256, 2**30, 0.001, 2), out, lambda done, total: None)
    return files["train"], packed.open_split(settings(str(out)), "train")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", metavar="DIR")
    parser.add_argument("--seconds", type=float, default=4.0, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    memory.keep_freed_memory()  # as the trainer does
    with tempfile.TemporaryDirectory() as directory:
        files, pixels = open_sources(options.path, Path(directory) / "packed")
        paths: dict[str, Callable[[], Iterator[Any]]] = {
            ONE_THREAD: lambda: ours(files, 1),
            TWO_THREADS: lambda: ours(files, 2),
            "packed 256": lambda: ours(pixels, 1),
        }
        try:
            import tensorflow as tf
        except ImportError:
            print("tf.data is not measured: TensorFlow is not installed")
        else:
            print(f"TensorFlow {tf.__version__}, NumPy {np.__version__}")
            paths = {
                "tf.data, antialiased": lambda: tf_data(files, 2, antialias=True),
                "tf.data, not antialiased": lambda: tf_data(files, 2, antialias=False),
                **paths,
            }
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in paths}
        running = {name: make() for name, make in paths.items()}
        for batches in running.values():
            next(batches)
        processes = []
        with concurrent.futures.ProcessPoolExecutor(
            2, multiprocessing.get_context("spawn"), load, (options.path,)
        ) as pool:
            list(pool.map(decode_alone, [PAUSE_SECONDS] * 2))  # starts both
            for _ in range(options.rounds):
                for name, batches in running.items():
                    time.sleep(PAUSE_SECONDS)
                    measured[name].append(rates(batches, options.seconds))
                time.sleep(PAUSE_SECONDS)
                one, two = (
                    sum(pool.map(decode_alone, [options.seconds] * number)) for number in (1, 2)
                )
                processes.append(two / one)
    for name, values in measured.items():
        cpu, wall = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"{name:26} {cpu:9.0f} images per CPU-second {wall:9.0f} images/s")
    threads = [
        two / one
        for (_, one), (_, two) in zip(measured[ONE_THREAD], measured[TWO_THREADS], strict=True)
    ]
    print_scaling("two threads over one", threads)
    print_scaling("two processes over one", processes)


def print_scaling(what: str, ratios: list[float]) -> None:
    """Prints the median and range of images per second over images per second."""
    print(
        f"{what}: {statistics.median(ratios):.2f} times the images/s "
        f"({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds)"
    )


if __name__ == "__main__":
    main()
