"""What a run shows in pictures: its first layer's filters, and training images as the network sees them."""

import concurrent.futures
import dataclasses

import jax
import numpy as np
from PIL import Image

from alexnet_jax.data.pipeline import BatchSource
from alexnet_jax.randomness import example_keys
from alexnet_jax.train.experiment import Experiment
from alexnet_jax.train.mixing import neighbour
from alexnet_jax.train.state import TrainState
from alexnet_jax.train.steps import DeviceBatch
from alexnet_jax.train.writers import MetricsWriter

FIRST_LAYER = "conv1"
SAMPLES = 8  # training images shown
SAMPLE_PIXELS = 128  # at most; larger ones are shrunk


class Pictures:
    """Writes the filters and a few augmented training images to TensorBoard."""

    def __init__(self, experiment: Experiment, writer: MetricsWriter):
        """Prepares, and writes nothing yet."""
        self._experiment, self._writer = experiment, writer
        seed = experiment.config.seed
        # Of few images on one device, whatever the strategy.
        objective = dataclasses.replace(experiment.objective, neighbour=neighbour)

        @jax.jit
        def augmented(step: jax.Array, batch: DeviceBatch) -> jax.Array:
            return objective.examples(batch, example_keys(seed, step, batch["row"]))["image"]

        self._augmented = augmented

    def write(self, done: int, state: TrainState) -> None:
        """Writes them as they are after ``done`` steps; of the images, the first of the step that follows."""
        self._writer.picture("filters", filter_grid(first_filters(state)), done)
        self._writer.picture("train/augmented", self.samples(done), done)

    def samples(self, step: int) -> np.ndarray:
        """Returns the first images of a step's batch side by side, augmented as the step does; uint8 [h, w, 3]."""
        experiment = self._experiment
        order = experiment.train_order
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            batch = BatchSource(
                source=experiment.sources["train"],
                order=order,
                num_steps=step + 1,
                rows=slice(0, min(SAMPLES, order.batch_size)),
                seed=experiment.config.seed,
                decoder=experiment.decoders["train"],
                pool=pool,
                broken=experiment.broken["train"],
            )[step]
        normalization = experiment.objective.transform.normalization
        images = np.asarray(self._augmented(np.int32(step), batch))
        pixels = 255 * (images * np.array(normalization.std) + np.array(normalization.mean))
        return np.concatenate([_small(image) for image in pixels.clip(0, 255).round()], axis=1)


def first_filters(state: TrainState) -> np.ndarray:
    """Returns the first layer's filters, float32 [height, width, 3, filters]."""
    kernel = state.params[FIRST_LAYER]["kernel"]
    return np.asarray(kernel.addressable_data(0), np.float32)  # whole on every device


def filter_grid(kernel: np.ndarray, columns: int = 16) -> np.ndarray:
    """Lays out the filters of a first layer, each scaled so that 0 is mid-grey and its largest weight is full.

    Args:
      kernel: float [height, width, 3, filters].
      columns: Filters in a row.

    Returns:
      uint8 [rows, columns, 4]: R, G, B and opacity; the pixel between two filters is clear.
    """
    height, width, _, count = kernel.shape
    scale = np.abs(kernel).max((0, 1, 2), keepdims=True)
    pixels = 127.5 + 127.5 * kernel / np.where(scale > 0, scale, 1)
    columns = min(columns, count)
    rows = -(-count // columns)
    grid = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1, 4), np.uint8)
    for number in range(count):
        top, left = (height + 1) * (number // columns), (width + 1) * (number % columns)
        cell = grid[top : top + height, left : left + width]
        cell[..., :3] = np.round(pixels[..., number])
        cell[..., 3] = 255
    return grid


def _small(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels.astype(np.uint8))
    image.thumbnail((SAMPLE_PIXELS, SAMPLE_PIXELS))
    return np.asarray(image)
