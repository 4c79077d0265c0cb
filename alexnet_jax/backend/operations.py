"""What training AlexNet asks of a device, operation by operation, as data: the doctor tries each against the CPU.

The shapes are small; the kernels, strides, paddings and windows are the variants' own. A test holds this list against
the programs that the variants' steps really are.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

NHWC = ("NHWC", "HWIO", "NHWC")


@dataclasses.dataclass(frozen=True)
class Operation:
    """One row of the doctor's table.

    Attributes:
      name: Its name there.
      function: Pure, of arrays; jitted for the device and for the CPU.
      shapes: Of the arguments, float32 normal numbers.
      tolerance: Largest difference from the CPU's result, relative to that result's largest magnitude.
      needed: Whether AlexNet cannot train without it.
    """

    name: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    tolerance: float = 1e-3
    needed: bool = True

    def arguments(self) -> list[np.ndarray]:
        """Returns the arguments, the same at every call."""
        generator = np.random.default_rng(0)
        return [generator.standard_normal(shape, np.float32) for shape in self.shapes]


def _convolution(
    stride: int = 1, padding: Any = "SAME", groups: int = 1, dtype: Any = jnp.float32
) -> Callable[..., jax.Array]:
    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        y = lax.conv_general_dilated(
            x.astype(dtype),
            kernel.astype(dtype),
            (stride, stride),
            padding,
            dimension_numbers=NHWC,
            feature_group_count=groups,
        )
        return y.astype(jnp.float32)

    return convolve


def _gradients(function: Callable[..., jax.Array], count: int) -> Callable[..., Any]:
    """Returns the gradients of a sum of squares: every cotangent differs."""
    return jax.grad(lambda *a: jnp.square(function(*a)).sum(), argnums=tuple(range(count)))


def _both(
    name: str,
    function: Callable[..., jax.Array],
    *shapes: tuple[int, ...],
    tolerance: float = 1e-3,
    needed: bool = True,
) -> tuple[Operation, Operation]:
    """Returns a function and its gradients as two rows."""
    gradients = _gradients(function, len(shapes))
    return (
        Operation(name, function, shapes, tolerance, needed),
        Operation(f"{name} gradient", gradients, shapes, tolerance, needed),
    )


def _pad(pixels: int) -> tuple[tuple[int, int], ...]:
    return ((pixels, pixels),) * 2


def _max_pool(window: int, stride: int) -> Callable[[jax.Array], jax.Array]:
    shape, strides = (1, window, window, 1), (1, stride, stride, 1)
    return lambda x: lax.reduce_window(x, -jnp.inf, lax.max, shape, strides, "VALID")


def _local_response_norm(x: jax.Array) -> jax.Array:
    sums = lax.reduce_window(jnp.square(x), 0.0, lax.add, (1, 1, 1, 5), (1, 1, 1, 1), "SAME")
    return x / (2 + 1e-4 * sums) ** 0.75


def _average_pool(x: jax.Array, weights: jax.Array) -> jax.Array:
    return jnp.einsum("ih,jw,bhwc->bijc", weights, weights, x)


def _batch_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    mean, square = x.mean((0, 1, 2)), jnp.square(x).mean((0, 1, 2))
    variance = jnp.maximum(square - jnp.square(mean), 0)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * scale + bias


def _patches(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 3 x 3 convolution of a small map, as a product of patches."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    parts = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(parts, axis=-1) @ kernel


def _cross_entropy(logits: jax.Array) -> jax.Array:
    labels = jnp.arange(logits.shape[0]) % logits.shape[1]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
    return -chosen.mean()


def _smoothed_cross_entropy(logits: jax.Array) -> jax.Array:
    targets = jax.nn.one_hot(jnp.arange(logits.shape[0]), logits.shape[1]) * 0.9 + 0.01
    return (jax.nn.logsumexp(logits, -1) - (targets * logits).sum(-1)).mean()


def _keys(x: jax.Array) -> jax.Array:
    return jax.vmap(lambda row: jax.random.fold_in(jax.random.key(0), row))(jnp.arange(len(x)))


def _random_bits(x: jax.Array) -> jax.Array:
    return jax.vmap(lambda key: jax.random.bits(key, (16,)))(_keys(x))


def _dropout(x: jax.Array) -> jax.Array:
    words = jax.vmap(lambda key: jax.random.bits(key, (x.shape[1] // 4,)))(_keys(x))
    drawn = lax.bitcast_convert_type(words, jnp.uint8).reshape(x.shape)
    return jnp.where(drawn >= 128, x / 0.5, jnp.zeros_like(x))


def _top_5(logits: jax.Array) -> jax.Array:
    _, best = lax.top_k(logits, 5)
    return best


def _counts(logits: jax.Array) -> jax.Array:
    classes = jnp.arange(len(logits))
    own = jnp.take_along_axis(logits, classes[:, None], axis=-1)
    lower = jnp.arange(logits.shape[-1]) < classes[:, None]
    rank = ((logits > own) | ((logits == own) & lower)).sum(-1)
    return ((rank < 5) & ~jnp.isnan(logits).any(-1)).sum(dtype=jnp.int32)


def _momentum(parameter: jax.Array, velocity: jax.Array, gradient: jax.Array) -> Any:
    velocity = 0.9 * velocity + lax.optimization_barrier(gradient) + 5e-4 * parameter
    return parameter - 0.01 * velocity, velocity


def _cosine(steps: jax.Array) -> jax.Array:
    steps = jnp.abs(steps) * 10
    angle = jnp.pi / 2 * jnp.clip(steps / 30, 0, 1)
    decayed = jnp.sin(angle) ** 2 + jnp.cos(angle) * jnp.sign(steps)
    dropped = 0.1 ** jnp.floor(steps / 7)
    return jnp.where(steps < 5, steps / 5, decayed) + dropped


def _flip_and_crop(images: jax.Array) -> jax.Array:
    def augment(image: jax.Array, key: jax.Array) -> jax.Array:
        flipped = jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)
        y, x = jax.random.randint(key, (2,), 0, 5)
        padded = jnp.pad(flipped, ((2, 2), (2, 2), (0, 0)))
        return lax.dynamic_slice(padded, (y, x, 0), image.shape)

    return jax.vmap(augment)(images, _keys(images))


def _pixels(images: jax.Array) -> jax.Array:
    pixels = jnp.clip(jnp.abs(images) * 100, 0, 255).astype(jnp.uint8)
    return (pixels.astype(jnp.float32) / 255 - 0.45) / 0.225


def _resize(images: jax.Array) -> jax.Array:
    return jax.image.resize(images, (len(images), 7, 7, 3), "bilinear")


def _jitter(images: jax.Array) -> jax.Array:
    def adjust(image: jax.Array, key: jax.Array) -> jax.Array:
        order = jax.random.randint(key, (), 0, 3)
        factor = jax.random.uniform(key, (), minval=0.6, maxval=1.4)
        grey = (image * jnp.array([0.299, 0.587, 0.114])).sum(-1, keepdims=True)
        choices = (
            lambda: jnp.zeros_like(image),
            lambda: jnp.broadcast_to(grey.mean(), image.shape),
            lambda: jnp.broadcast_to(grey, image.shape),
        )
        poorer = lax.switch(order, choices)
        return poorer + factor * (image - poorer)

    return jax.vmap(adjust)(images, _keys(images))


def _crop_boxes(areas: jax.Array) -> jax.Array:
    return jnp.round(64 * jnp.sqrt(jnp.abs(areas))) / 64


def _normal(x: jax.Array) -> jax.Array:
    return jax.vmap(lambda key: jax.random.normal(key, (16,)))(_keys(x))


def _mixup(images: jax.Array) -> jax.Array:
    weight = jax.random.beta(jax.random.key(0), 0.2, 0.2)
    side = jnp.sqrt(1 - weight)
    return weight * images + (1 - weight) * jnp.roll(images, 1, 0) + side


def _ten_crops(images: jax.Array) -> jax.Array:
    def view(place: jax.Array) -> jax.Array:
        crop = lax.dynamic_slice(images, (0, place[0], place[1], 0), (len(images), 5, 5, 3))
        ahead = jax.nn.log_softmax(crop.reshape(len(images), -1))
        return jnp.logaddexp(ahead, ahead[:, ::-1])

    return jax.nn.logsumexp(lax.map(view, jnp.array([(0, 0), (2, 3)])), axis=0)


def _clip(gradient: jax.Array) -> jax.Array:
    return gradient * jnp.minimum(1, 1 / jnp.sqrt(jnp.square(gradient).sum()))


def _resident(images: jax.Array) -> jax.Array:
    """Two batches of images that lie there as a whole, in one call."""
    order = jnp.array([[3, 1], [0, 2]])
    return lax.map(
        lambda step: images[lax.dynamic_slice(order, (step, 0), (1, 2))[0]], jnp.arange(2)
    )


OPERATIONS: Sequence[Operation] = (
    *_both("convolution 11x11/4", _convolution(4, _pad(2)), (2, 35, 35, 3), (11, 11, 3, 8)),
    *_both(
        "convolution 11x11/4 unpadded", _convolution(4, "VALID"), (2, 35, 35, 3), (11, 11, 3, 8)
    ),
    *_both("convolution 11x11/4 SAME", _convolution(4), (2, 35, 35, 3), (11, 11, 3, 8)),
    *_both("convolution 5x5", _convolution(1, _pad(2)), (2, 9, 9, 4), (5, 5, 4, 8)),
    *_both("convolution 3x3", _convolution(1), (2, 9, 9, 4), (3, 3, 4, 8)),
    *_both("convolution 3x3/2", _convolution(2, _pad(1)), (2, 16, 16, 3), (3, 3, 3, 8)),
    *_both("convolution in two groups", _convolution(1, _pad(2), 2), (2, 9, 9, 8), (5, 5, 4, 8)),
    *_both("convolution of a small map", _patches, (2, 3, 3, 4), (36, 8)),
    *_both("bias and ReLU", lambda x, b: jax.nn.relu(x + b), (2, 9, 9, 8), (8,), tolerance=1e-5),
    *_both("max pool 3x3/2", _max_pool(3, 2), (2, 13, 13, 4), tolerance=1e-6),
    *_both("max pool 2x2/2", _max_pool(2, 2), (2, 12, 12, 4), tolerance=1e-6),
    *_both("local response norm", _local_response_norm, (2, 5, 5, 16), tolerance=1e-4),
    *_both("batch norm", _batch_norm, (4, 5, 5, 8), (8,), (8,)),
    *_both("adaptive average pool", _average_pool, (2, 7, 7, 4), (3, 7)),
    *_both("dense layer", lambda x, w, b: x @ w + b, (33, 65), (65, 17), (17,)),
    Operation("random bits", _random_bits, ((8, 16),), 0),
    *_both("dropout", _dropout, (8, 16), tolerance=1e-6),
    *_both("cross-entropy", _cross_entropy, (6, 10), tolerance=1e-4),
    *_both("smoothed cross-entropy", _smoothed_cross_entropy, (6, 10), tolerance=1e-4),
    Operation("top-5", _top_5, ((6, 20),), 0, needed=False),  # of predict and report
    Operation("counting hits", _counts, ((20, 20),), 0),
    Operation("momentum update", _momentum, ((8, 8),) * 3, 1e-5),
    Operation("learning-rate schedules", _cosine, ((16,),), 1e-4),
    Operation("flip and crop", _flip_and_crop, ((4, 8, 8, 3),), 1e-6),
    Operation("colour jitter", _jitter, ((4, 8, 8, 3),), 1e-4),
    Operation("resize", _resize, ((2, 9, 9, 3),), 1e-4),
    Operation("pixels and normalisation", _pixels, ((2, 8, 8, 3),), 1e-5),
    # Of some recipes and settings only.
    Operation("boxes of random crops", _crop_boxes, ((16,),), 0.02, needed=False),
    Operation("normal numbers", _normal, ((8, 16),), 1e-5, needed=False),
    Operation("mixup", _mixup, ((4, 8, 8, 3),), 1e-4, needed=False),
    Operation("ten crops", _ten_crops, ((2, 8, 8, 3),), 1e-4, needed=False),
    Operation("clipping", _clip, ((8, 8),), 1e-5, needed=False),
    Operation("resident images", _resident, ((4, 8, 8, 3),), 0, needed=False),
    *_both(
        "bfloat16 convolution",
        _convolution(dtype=jnp.bfloat16),
        *((2, 9, 9, 4), (3, 3, 4, 8)),
        tolerance=0.05,
        needed=False,
    ),
    *_both(
        "float16 convolution",
        _convolution(dtype=jnp.float16),
        *((2, 9, 9, 4), (3, 3, 4, 8)),
        tolerance=0.01,
        needed=False,
    ),
)


def difference(got: Any, wanted: Any) -> float:
    """Returns the largest difference of two trees of arrays, relative to the wanted array's largest magnitude."""
    worst = 0.0
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
        error = np.abs(a - b).max() / max(np.abs(b).max(), 1e-9)
        worst = max(worst, float(error) if math.isfinite(error) else math.inf)
    return worst
