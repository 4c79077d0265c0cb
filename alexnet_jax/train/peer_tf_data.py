"""The same input in tf.data, to compare with: random resized crops cut while decoding, resized and flipped."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

from alexnet_jax.errors import RequestError

MISSING = (
    "--against tf.data: TensorFlow is not installed here; pip install tensorflow, or leave it out."
)


def batches(
    files: Sequence[str],
    *,
    batch_size: int,
    size: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
    threads: int,
    antialias: bool,
) -> Iterator[Any]:
    """Yields batches of JPEGs without end: crop while decoding, bilinear resize, flip.

    Args:
      files: JPEGs.
      batch_size: Images in a batch.
      size: Height and width to resize to, in pixels.
      area: Least and largest area of a crop, as fractions of the image.
      aspect: Least and largest width / height of a crop.
      threads: That decode.
      antialias: Whether shrinking averages, as Pillow does and ours.

    Raises:
      RequestError: If TensorFlow is missing.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise RequestError(MISSING) from error

    def box(shape: Any) -> Any:
        height, width = tf.cast(shape[0], tf.float32), tf.cast(shape[1], tf.float32)
        share = height * width * tf.random.uniform([], *area)
        ratio = tf.exp(tf.random.uniform([], math.log(aspect[0]), math.log(aspect[1])))
        crop_width = tf.minimum(width, tf.round(tf.sqrt(share * ratio)))
        crop_height = tf.minimum(height, tf.round(tf.sqrt(share / ratio)))
        top = tf.floor(tf.random.uniform([]) * (height - crop_height + 1))
        left = tf.floor(tf.random.uniform([]) * (width - crop_width + 1))
        return tf.cast(tf.stack([top, left, crop_height, crop_width]), tf.int32)

    def load(name: Any) -> Any:
        encoded = tf.io.read_file(name)
        window = box(tf.image.extract_jpeg_shape(encoded))
        image = tf.image.decode_and_crop_jpeg(encoded, window, channels=3)
        image = tf.image.resize(image, (size, size), antialias=antialias)
        return tf.cast(tf.image.random_flip_left_right(image), tf.uint8)

    data = tf.data.Dataset.from_tensor_slices(list(files)).repeat().shuffle(len(files))
    return iter(data.map(load, num_parallel_calls=threads).batch(batch_size).prefetch(2))


def rates(source: Iterator[Any], batch_size: int, seconds: float) -> tuple[float, float]:
    """Returns images a second and CPU-seconds an image of taking batches for about ``seconds``."""
    next(source)
    count, start, cpu = 0, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - start) < seconds or not count:
        next(source)
        count += batch_size
    return count / passed, (time.process_time() - cpu) / count
