"""The same training step in PyTorch, to compare with: channels-last, autocast in half precisions, compiled on a GPU."""

import math
from collections.abc import Callable
from typing import Any

from alexnet_jax.errors import RequestError
from alexnet_jax.model.variants import Conv, Variant

MISSING = "--against torch: PyTorch is not installed here; pip install torch, or leave it out."


def training_step(
    variant: Variant,
    *,
    image_size: int,
    num_classes: int,
    batch_size: int,
    precision: str,
    on_gpu: bool,
) -> Callable[[], None]:
    """Returns a call that trains one step on random images and waits for it.

    SGD with momentum 0.9 and weight decay 1e-4, dropout as the variant has it; no augmentation. On a GPU, as XLA by
    default, PyTorch may compute float32 products in TF32 and tries cuDNN's algorithms, from here on in this process.

    Args:
      variant: Of the network.
      image_size: Height and width of the input, in pixels.
      num_classes: Width of the classifier.
      batch_size: Images in a step.
      precision: "float32", or what autocast computes in.
      on_gpu: Whether on the first GPU, and compiled; else on the CPU.

    Raises:
      RequestError: If PyTorch is missing, or sees no GPU.
    """
    try:
        import torch
    except ImportError as error:
        raise RequestError(MISSING) from error
    if on_gpu and not torch.cuda.is_available():
        raise RequestError("--against torch: this PyTorch sees no GPU; install one that does.")
    device = "cuda" if on_gpu else "cpu"
    if on_gpu:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    network: Any = build(variant, image_size=image_size, num_classes=num_classes)
    network = network.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(batch_size, 3, image_size, image_size, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(num_classes, (batch_size,), device=device)
    half = {} if precision == "float32" else {"dtype": getattr(torch, precision)}

    def loss() -> Any:
        with torch.autocast(device, enabled=bool(half), **half):
            return torch.nn.functional.cross_entropy(network(images), labels)

    forward: Any = torch.compile(loss) if on_gpu else loss

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        value = forward()
        value.backward()
        optimizer.step()
        value.item()
        if on_gpu:
            torch.cuda.synchronize()

    return step


def build(variant: Variant, *, image_size: int, num_classes: int) -> Any:
    """Returns the variant as a ``torch.nn.Sequential`` of PyTorch's own layers, NCHW."""
    from torch import nn

    layers: list[Any] = []
    channels, size = 3, image_size
    for number, conv in enumerate(variant.convolutions, start=1):
        padding, size = _padding(conv, size)
        if padding is not None:
            layers.append(padding)
        width, stride = conv.kernel, conv.stride
        padded = 0 if padding is not None else conv.padding
        layers.append(
            nn.Conv2d(
                *(channels, conv.features, width, stride, padded),
                groups=conv.groups,
                bias=variant.conv_bias,
            )
        )
        channels = conv.features
        if variant.batch_norm:
            layers.append(nn.BatchNorm2d(channels))
        layers.append(nn.ReLU(inplace=True))
        if number in variant.local_response_norm:
            layers.append(nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0))
        if conv.pool is not None:
            layers.append(nn.MaxPool2d(*conv.pool))
    size = variant.feature_size(image_size)
    if variant.average_pool is not None:
        size = variant.average_pool
        layers.append(nn.AdaptiveAvgPool2d(size))
    layers.append(nn.Flatten())
    features = channels * size * size
    for width in variant.hidden:
        drop = [nn.Dropout(variant.dropout_rate)] if variant.dropout != "none" else []
        dense = [nn.Linear(features, width), nn.ReLU(inplace=True)]
        layers += [*drop, *dense] if variant.dropout == "before" else [*dense, *drop]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, num_classes))


def _padding(conv: Conv, size: int) -> tuple[Any, int]:
    """Returns the layer that pads for "SAME", None where the convolution pads, and the size after both and the pool."""
    if not isinstance(conv.padding, str):
        return None, conv.output_size(size)
    from torch import nn

    total = max((math.ceil(size / conv.stride) - 1) * conv.stride + conv.kernel - size, 0)
    before, after = total // 2, total - total // 2
    return nn.ZeroPad2d((before, after, before, after)), conv.output_size(size)
