"""The networks called "AlexNet": one row each, so that whoever picks a name gets exactly that network."""

import dataclasses
from collections.abc import Callable

from jax.nn import initializers
from jax.nn.initializers import Initializer

from alexnet_jax.errors import RequestError
from alexnet_jax.model import initialization


@dataclasses.dataclass(frozen=True)
class Conv:
    """One convolution with what follows it, in this order: batch norm, ReLU, response norm, max pooling.

    Attributes:
      features: Output channels.
      kernel: Height and width of the kernel, in pixels.
      stride: Pixels between two outputs.
      padding: Pixels of zero padding on each side, or "SAME" (output = ceil(input / stride)).
      groups: Independent towers: each sees ``1 / groups`` of the input channels.
      pool: (window, stride) of the max pooling, in pixels and without padding; None for none.
      bias_value: Initial bias, where the initialisation uses constants.
    """

    features: int
    kernel: int
    stride: int = 1
    padding: int | str = "SAME"
    groups: int = 1
    pool: tuple[int, int] | None = None
    bias_value: float = 0.0

    def output_size(self, size: int) -> int:
        """Returns the height (= width) in pixels after convolution and pooling of a ``size`` x ``size`` input."""
        if isinstance(self.padding, str):
            size = -(-size // self.stride)
        else:
            size = (size + 2 * self.padding - self.kernel) // self.stride + 1
        if self.pool is not None:
            window, stride = self.pool
            size = (size - window) // stride + 1
        return size


@dataclasses.dataclass(frozen=True)
class Initialization:
    """How a variant draws its first parameters.

    Attributes:
      conv_kernel: Initializer of [height, width, in / groups, out] kernels.
      dense_kernel: Initializer of [in, out] kernels.
      bias: ``(fan_in, constant) -> Initializer`` of the biases.
    """

    conv_kernel: Initializer
    dense_kernel: Initializer
    bias: Callable[[int, float], Initializer]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One published AlexNet.

    Attributes:
      name: What users type.
      image_size: Height and width of the input the publisher trained on, in pixels.
      num_classes: Classes of the data set it was published for.
      convolutions: The feature extractor, in order.
      hidden: Widths of the hidden dense layers; the classifier follows them.
      initialization: How the parameters start.
      average_pool: Output size of an adaptive average pooling before the dense layers; None for none.
      dropout_rate: Probability of zeroing a unit.
      dropout: Where: "before" each hidden dense layer's product (PyTorch), "after" its ReLU (the paper), or
        "none".
      conv_bias: Whether the convolutions add a bias.
      batch_norm: Whether a batch normalisation follows each convolution.
      local_response_norm: The number of the layers that are followed by local response normalisation, from 1.
      hidden_bias_value: Initial bias of the hidden dense layers, where the initialisation uses constants.
      source: Where it was published.
    """

    name: str
    image_size: int
    convolutions: tuple[Conv, ...]
    hidden: tuple[int, ...]
    initialization: Initialization
    source: str
    num_classes: int = 1000
    average_pool: int | None = None
    dropout_rate: float = 0.5
    dropout: str = "none"
    conv_bias: bool = True
    batch_norm: bool = False
    local_response_norm: tuple[int, ...] = ()
    hidden_bias_value: float = 0.0

    @property
    def dense_names(self) -> tuple[str, ...]:
        """Names of the dense layers, numbered on from the convolutions; the last is the classifier."""
        first = len(self.convolutions) + 1
        return tuple(f"fc{number}" for number in range(first, first + len(self.hidden) + 1))

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers that have parameters, in order."""
        kinds = ("conv", "bn") if self.batch_norm else ("conv",)
        numbers = range(1, len(self.convolutions) + 1)
        return (*(f"{kind}{number}" for number in numbers for kind in kinds), *self.dense_names)

    def feature_size(self, image_size: int) -> int:
        """Returns the height (= width) of the last convolutional feature map, in pixels.

        Raises:
          RequestError: If an image of ``image_size`` pixels vanishes on the way.
        """
        size = image_size
        for number, conv in enumerate(self.convolutions, start=1):
            size = conv.output_size(size)
            if size < 1:
                raise RequestError(
                    f"image_size={image_size} is too small for the variant {self.name!r}: nothing is left after "
                    f"layer {number}; use at least {self.smallest_image_size()}."
                )
        return size

    def smallest_image_size(self) -> int:
        """Returns the least image size, in pixels, that leaves at least one feature after every layer."""
        size = 1
        while not self._survives(size):
            size += 1
        return size

    def _survives(self, size: int) -> bool:
        for conv in self.convolutions:
            size = conv.output_size(size)
            if size < 1:
                return False
        return True


PYTORCH = Initialization(
    conv_kernel=initialization.uniform_fan_in,
    dense_kernel=initialization.uniform_fan_in,
    bias=initialization.uniform_fan_in_bias,
)
ASCEND = Initialization(
    conv_kernel=initializers.variance_scaling(2.0, "fan_out", "normal"),
    dense_kernel=initializers.normal(0.01),
    bias=initialization.constant_bias,
)
MINDSPORE_CIFAR = Initialization(
    conv_kernel=initializers.truncated_normal(0.02),
    dense_kernel=initializers.truncated_normal(0.02),
    bias=initialization.truncated_normal_bias(0.02),
)
PAPER = Initialization(
    conv_kernel=initializers.normal(0.01),
    dense_kernel=initializers.normal(0.01),
    bias=initialization.constant_bias,
)

_ROWS = (
    Variant(
        name="torchvision",
        image_size=224,
        convolutions=(
            Conv(64, 11, stride=4, padding=2, pool=(3, 2)),
            Conv(192, 5, padding=2, pool=(3, 2)),
            Conv(384, 3, padding=1),
            Conv(256, 3, padding=1),
            Conv(256, 3, padding=1, pool=(3, 2)),
        ),
        average_pool=6,
        hidden=(4096, 4096),
        dropout="before",
        initialization=PYTORCH,
        source="torchvision.models.alexnet; the single tower of Krizhevsky, arXiv:1404.5997",
    ),
    Variant(
        name="paper2012",
        image_size=227,
        convolutions=(
            Conv(96, 11, stride=4, padding=0, pool=(3, 2)),
            Conv(256, 5, padding=2, groups=2, pool=(3, 2), bias_value=1.0),
            Conv(384, 3, padding=1),
            Conv(384, 3, padding=1, groups=2, bias_value=1.0),
            Conv(256, 3, padding=1, groups=2, pool=(3, 2), bias_value=1.0),
        ),
        local_response_norm=(1, 2),
        hidden=(4096, 4096),
        hidden_bias_value=1.0,
        dropout="after",
        initialization=PAPER,
        source="Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep CNNs, NIPS 2012",
    ),
    Variant(
        name="ascend_mindspore",
        image_size=224,
        convolutions=(
            Conv(64, 11, stride=4, pool=(3, 2)),
            Conv(192, 5, pool=(3, 2)),
            Conv(384, 3),
            Conv(256, 3),
            Conv(256, 3, pool=(3, 2)),
        ),
        hidden=(4096, 4096),
        dropout_rate=0.35,
        dropout="after",
        initialization=ASCEND,
        source="Ascend, MindSpore AlexNet for ImageNet",
    ),
    Variant(
        name="mindspore_cifar",
        image_size=227,
        num_classes=10,
        convolutions=(
            Conv(96, 11, stride=4, padding=0, pool=(3, 2)),
            Conv(256, 5, pool=(3, 2)),
            Conv(384, 3),
            Conv(384, 3),
            Conv(256, 3, pool=(3, 2)),
        ),
        hidden=(4096, 4096),
        conv_bias=False,
        initialization=MINDSPORE_CIFAR,
        source="MindSpore AlexNet for CIFAR-10",
    ),
    Variant(
        name="mindspore_2022",
        image_size=224,
        convolutions=(
            Conv(64, 11, stride=4, pool=(3, 2)),
            Conv(128, 5, pool=(3, 2)),
            Conv(192, 3),
            Conv(256, 3),
            Conv(256, 3, pool=(3, 2)),
        ),
        hidden=(4096, 4096),
        dropout_rate=0.35,
        dropout="after",
        initialization=ASCEND,
        source="MindSpore AlexNet, 2022 edition",
    ),
    Variant(
        name="deepspark",
        image_size=224,
        convolutions=(
            Conv(64, 3, stride=2, padding=1, pool=(2, 2)),
            Conv(192, 3, padding=1, pool=(2, 2)),
            Conv(384, 3, padding=1),
            Conv(256, 3, padding=1),
            Conv(1024, 3, padding=1, pool=(2, 2)),
        ),
        average_pool=1,
        hidden=(4096, 4096),
        dropout_rate=0.2,
        dropout="before",
        batch_norm=True,
        initialization=PYTORCH,
        source="Iluvatar DeepSpark, AlexNet in PyTorch",
    ),
    Variant(
        name="cifar32",
        image_size=32,
        num_classes=10,
        convolutions=(
            Conv(64, 11, stride=4, padding=5, pool=(2, 2)),
            Conv(192, 5, padding=2, pool=(2, 2)),
            Conv(384, 3, padding=1),
            Conv(256, 3, padding=1),
            Conv(256, 3, padding=1, pool=(2, 2)),
        ),
        hidden=(),
        initialization=PYTORCH,
        source="the 32-pixel AlexNet of the PyTorch CIFAR benchmarks",
    ),
)

VARIANTS = {row.name: row for row in _ROWS}


def variants() -> tuple[str, ...]:
    """Returns the names of all variants."""
    return tuple(VARIANTS)


def get_variant(name: str) -> Variant:
    """Returns the variant called ``name``.

    Raises:
      RequestError: If there is none.
    """
    if name not in VARIANTS:
        raise RequestError(f"unknown variant {name!r}; the variants are: {', '.join(VARIANTS)}.")
    return VARIANTS[name]
