"""AlexNet: one Flax NNX module for every variant."""

import math
from collections.abc import Iterator
from typing import Any

import jax
from flax import nnx
from jax import numpy as jnp

from alexnet_jax.errors import RequestError
from alexnet_jax.model import layers
from alexnet_jax.model.formulations import FORMULATIONS, Formulation
from alexnet_jax.model.placement import Placement
from alexnet_jax.model.variants import Conv, Variant, get_variant
from alexnet_jax.randomness import address, named_key


class AlexNet(nnx.Module):
    """A variant of AlexNet: convolutions conv1, conv2, ... then dense layers, numbered on (fc6, fc7, fc8).

    Calling it without ``keys`` is evaluation: no dropout, batch statistics as stored.
    """

    def __init__(
        self,
        variant: Variant,
        *,
        num_classes: int,
        image_size: int,
        dropout_rate: float,
        dtype: Any,
        seed: int,
        frozen: tuple[str, ...],
        placement: Placement,
        formulation: Formulation,
    ):
        """Draws the parameters (float32), each layer from ``seed`` and the layer's name alone.

        Args:
          variant: The row of the table to build.
          num_classes: Width of the classifier.
          image_size: Height and width of the input, in pixels.
          dropout_rate: Probability of zeroing a hidden unit during training.
          dtype: What the layers compute in: jnp.float32 or jnp.bfloat16.
          seed: Of the parameters.
          frozen: Layers that training leaves alone: batch norms of these use their stored statistics always.
          placement: How the model is spread over devices.
          formulation: How the layers are computed.
        """
        self.variant, self.num_classes, self.image_size = variant, num_classes, image_size
        self.dropout_rate, self.dtype = dropout_rate, dtype
        self.placement, self.formulation = placement, formulation
        self.frozen = frozen

        features = 3
        for number, row in enumerate(variant.convolutions, start=1):
            setattr(self, f"conv{number}", self._conv(f"conv{number}", features, row, seed))
            if variant.batch_norm:
                setattr(self, f"bn{number}", self._batch_norm(f"bn{number}", row.features, seed))
            features = row.features

        size = variant.average_pool or variant.feature_size(image_size)
        features *= size * size
        widths = (*variant.hidden, num_classes)
        for name, width in zip(variant.dense_names, widths, strict=True):
            setattr(self, name, self._dense(name, features, width, seed))
            features = width

    def __call__(self, images: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Classifies images.

        Args:
          images: Normalised, [batch, image_size, image_size, 3], any float dtype.
          keys: [batch] PRNG keys for dropout; given, the model trains: it drops units and, where it has batch
            statistics, uses the batch's own and updates the stored ones.

        Returns:
          Logits [batch, num_classes], float32.
        """
        logits = images
        for _, activation in self._forward(images, keys):
            logits = activation
        return logits

    def features(self, images: jax.Array, *, flatten: bool = False) -> dict[str, jax.Array]:
        """Returns every activation by its layer's name, in order: conv1, relu1, pool1, ..., the last the logits.

        Args:
          images: As in a call.
          flatten: Whether to add "flatten", what the first dense layer reads, in torchvision's order: channel, row,
            column. The network's own order is row, column, channel.
        """
        activations = dict(self._forward(images, None))
        if not flatten:
            return activations
        last_map = [x for x in activations.values() if x.ndim == 4][-1]
        flat = last_map.transpose(0, 3, 1, 2).reshape(len(last_map), math.prod(last_map.shape[1:]))
        place = list(activations).index(self.variant.dense_names[0])
        items = list(activations.items())
        return dict([*items[:place], ("flatten", flat), *items[place:]])

    def _forward(self, x: jax.Array, keys: jax.Array | None) -> Iterator[tuple[str, jax.Array]]:
        variant = self.variant
        self._check_shape(x.shape)
        x = x.astype(self.dtype)
        for number, row in enumerate(variant.convolutions, start=1):
            x, bias = self._convolve(f"conv{number}", row, x)
            biased = x if bias is None else x + bias
            yield f"conv{number}", biased
            if variant.batch_norm:
                stored = keys is None or f"bn{number}" in self.frozen
                x = getattr(self, f"bn{number}")(biased, use_running_average=stored)
                bias = None
                yield f"bn{number}", x
            rectified = self.formulation.relu(x, bias)
            yield f"relu{number}", rectified
            if number in variant.local_response_norm:
                x = rectified = layers.local_response_norm(rectified)
                bias = None
                yield f"norm{number}", x
            if row.pool is None:
                x = rectified
            else:  # rectified and pooled in one; what the norm gives is not negative and stays as it is
                x = self.formulation.relu_max_pool(x, bias, *row.pool)
                yield f"pool{number}", x

        if variant.average_pool is not None:
            x = layers.adaptive_average_pool(x, variant.average_pool)
            yield "avgpool", x
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))  # -1 would not do for no images

        *hidden_names, classifier_name = variant.dense_names
        for name in hidden_names:
            if variant.dropout == "before":
                x = self._dropout(x, name, keys)
            x = getattr(self, name)(x)
            yield name, x
            x = nnx.relu(x)
            yield name.replace("fc", "relu"), x
            if variant.dropout == "after":
                x = self._dropout(x, name, keys)
        yield classifier_name, getattr(self, classifier_name)(x).astype(jnp.float32)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuses images that the first dense layer could not read; an averaged map is of one size always."""
        size, variant = self.image_size, self.variant
        if shape[1:] == (size, size, 3):
            return
        taken = f"{variant.name!r} takes {size} x {size} images, [batch, {size}, {size}, 3]; got "
        if len(shape) != 4 or shape[3] != 3:
            raise RequestError(f"{taken}an array {list(shape)}.")
        large_enough = min(shape[1:3]) >= variant.smallest_image_size()
        same_map = large_enough and all(
            variant.feature_size(pixels) == variant.feature_size(size) for pixels in shape[1:3]
        )
        if not (same_map or (large_enough and variant.average_pool is not None)):
            raise RequestError(
                f"{taken}{shape[1]} x {shape[2]}. Resize them (preprocess(..., image_size={size})), or name another "
                "image_size where the model is created."
            )

    def _convolve(self, name: str, row: Conv, x: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Returns what the layer gives before the bias, which is better added with what comes next, and the bias."""
        layer = getattr(self, name)
        kernel, bias = layer.kernel[...], None if layer.bias is None else layer.bias[...]
        x, kernel, bias = self.formulation.promote((x, kernel, bias), dtype=self.dtype)
        padding = row.padding if isinstance(row.padding, str) else [(row.padding,) * 2] * 2
        y = self.placement.convolution(self.formulation)(
            *(x, kernel, (row.stride, row.stride), padding),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=row.groups,
        )
        return y, bias

    def _dropout(self, x: jax.Array, name: str, keys: jax.Array | None) -> jax.Array:
        if keys is None:
            return x
        layer_keys = jax.vmap(lambda key: jax.random.fold_in(key, address(name)))(keys)
        return layers.dropout(x, self.dropout_rate, layer_keys)

    def _conv(self, name: str, in_features: int, row: Conv, seed: int) -> nnx.Conv:
        initialization = self.variant.initialization
        fan_in = row.kernel * row.kernel * in_features // row.groups
        return nnx.Conv(
            in_features,
            row.features,
            (row.kernel, row.kernel),
            strides=row.stride,
            padding=row.padding,
            feature_group_count=row.groups,
            use_bias=self.variant.conv_bias,
            kernel_init=initialization.conv_kernel,
            bias_init=initialization.bias(fan_in, row.bias_value),
            dtype=self.dtype,
            rngs=nnx.Rngs(params=named_key(seed, name)),
        )

    def _batch_norm(self, name: str, features: int, seed: int) -> nnx.BatchNorm:
        # Flax's momentum .9 is PyTorch's .1; the statistics stay in float32 whatever the layers compute in.
        rngs = nnx.Rngs(params=named_key(seed, name))
        return nnx.BatchNorm(
            features,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
            axis_name=self.placement.batch_axis,
            rngs=rngs,
        )

    def _dense(self, name: str, in_features: int, out_features: int, seed: int) -> nnx.Linear:
        initialization = self.variant.initialization
        bias_value = 0.0 if name == self.variant.dense_names[-1] else self.variant.hidden_bias_value
        return nnx.Linear(
            in_features,
            out_features,
            kernel_init=initialization.dense_kernel,
            bias_init=initialization.bias(in_features, bias_value),
            dtype=self.dtype,
            dot_general=self.placement.dense_product(name, self.formulation),
            promote_dtype=self.formulation.promote,
            # The classifier's sums are not rounded to the layers' dtype: a thousand logits in bfloat16 have many ties.
            preferred_element_type=jnp.float32 if name == self.variant.dense_names[-1] else None,
            rngs=nnx.Rngs(params=named_key(seed, name)),
        )


def create(
    variant: str,
    *,
    num_classes: int | None = None,
    image_size: int | None = None,
    dropout_rate: float | None = None,
    dtype: Any = jnp.float32,
    seed: int = 0,
    frozen: tuple[str, ...] = (),
    placement: Placement = Placement(),  # noqa: B008 (immutable)
    layers: str = "plain",
) -> AlexNet:
    """Builds a variant with freshly drawn parameters.

    Args:
      variant: Its name, one of ``variants()``.
      num_classes: Width of the classifier; the publisher's where None.
      image_size: Height and width of the input in pixels; the publisher's where None.
      dropout_rate: In [0, 1); the publisher's where None.
      dtype: What the layers compute in. Parameters and logits are float32 always.
      seed: Of the parameters, in [0, 2**32).
      frozen: Layers that training leaves alone; of the parameters the optimizer must know it too.
      placement: How the model is spread over devices; by default as the compiler sees fit.
      layers: How they are computed, with the same results: "plain" leaves all to the compiler and has derivatives of
        every kind; "fast" is made for training on a CPU and has gradients (reverse mode) only.

    Returns:
      The model, in evaluation until it is called with keys.

    Raises:
      RequestError: If the variant is unknown, a number is out of range, or the images too small for it.
    """
    row = get_variant(variant)
    num_classes = row.num_classes if num_classes is None else num_classes
    image_size = row.image_size if image_size is None else image_size
    dropout_rate = row.dropout_rate if dropout_rate is None else dropout_rate
    if num_classes < 1:
        raise RequestError(f"num_classes={num_classes}: a classifier needs at least one class.")
    if not 0 <= dropout_rate < 1:
        raise RequestError(f"dropout_rate={dropout_rate} is not in [0, 1).")
    if not 0 <= seed < 2**32:  # JAX draws from these bits alone
        raise RequestError(f"seed={seed} is not in [0, 2**32).")
    if layers not in FORMULATIONS:
        raise RequestError(f"layers={layers!r} is not one of: {', '.join(FORMULATIONS)}.")
    row.feature_size(image_size)  # refuses images too small
    return AlexNet(
        row,
        num_classes=num_classes,
        image_size=image_size,
        dropout_rate=dropout_rate,
        dtype=dtype,
        seed=seed,
        frozen=frozen,
        placement=placement,
        formulation=FORMULATIONS[layers],
    )
