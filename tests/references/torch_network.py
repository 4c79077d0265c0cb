"""The networks in PyTorch, NCHW, with PyTorch's own layers, and the way of weights between the two layouts."""

import math

import numpy as np
import torch
from torch import nn

from tests.references.networks import named_layers


class SamePadding(nn.Module):
    """Zero padding such that a convolution leaves ceil(size / stride) pixels, the odd pixel at the end."""

    def __init__(self, kernel, stride):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x):
        size = x.shape[-1]
        total = max((math.ceil(size / self.stride) - 1) * self.stride + self.kernel - size, 0)
        before, after = total // 2, total - total // 2
        return nn.functional.pad(x, (before, after, before, after))


def build(variant, *, image_size, num_classes, conv_bias=True):
    """Returns an nn.Sequential without dropout, its layers named as ours."""
    network = nn.Sequential()
    channels, size = 3, image_size
    for place, (name, layer) in enumerate(named_layers(variant)):
        kind, *options = layer
        if kind == "conv":
            out, kernel, stride, padding, groups = options
            if padding == "same":
                network.add_module(f"same{place}", SamePadding(kernel, stride))
                padding = 0
                size = math.ceil(size / stride)
            else:
                size = (size + 2 * padding - kernel) // stride + 1
            module = nn.Conv2d(
                channels, out, kernel, stride, padding, groups=groups, bias=conv_bias
            )
            channels = out
        elif kind == "bn":
            module = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
        elif kind == "dense":
            out = options[0] or num_classes
            module = nn.Linear(channels, out)
            channels = out
        elif kind == "pool":
            window, stride = options
            module = nn.MaxPool2d(window, stride)
            size = (size - window) // stride + 1
        elif kind == "average":
            module, size = nn.AdaptiveAvgPool2d(options[0]), options[0]
        elif kind == "flatten":
            module, channels = nn.Flatten(), channels * size * size
        elif kind == "lrn":
            # PyTorch's alpha is divided by the 5 channels of the sum; the paper's is not.
            module = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
        else:
            module = nn.ReLU()
        network.add_module(name or f"{kind}{place}", module)
    return network


def load(network, params, statistics):
    """Copies our weights into a network of ``build``, strictly."""
    maps = [module.out_channels for module in network if isinstance(module, nn.Conv2d)][-1]
    state = {}
    for name, leaves in params.items():
        for kind, array in leaves.items():
            state[_NAMES[kind].format(name)] = torch.from_numpy(np.array(array))
    for name, leaves in statistics.items():
        state[f"{name}.running_mean"] = torch.from_numpy(leaves["mean"].copy())
        state[f"{name}.running_var"] = torch.from_numpy(leaves["var"].copy())
        state[f"{name}.num_batches_tracked"] = torch.tensor(0)
    first = min(name for name in params if name.startswith("fc"))
    for key, value in state.items():
        if value.ndim == 4:
            state[key] = value.permute(3, 2, 0, 1).contiguous()
        elif value.ndim == 2 and key.startswith(f"{first}."):
            state[key] = _flatten_channels_first(value, maps).T.contiguous()
        elif value.ndim == 2:
            state[key] = value.T.contiguous()
    network.load_state_dict(state, strict=True)
    return network


def parameters_as_ours(network):
    """Returns the network's parameters in our layout, layer -> name -> array; the inverse of ``load``."""
    maps = [module.out_channels for module in network if isinstance(module, nn.Conv2d)][-1]
    params, dense_seen = {}, False
    for name, module in network.named_children():
        leaves = {}
        for kind, value in module.named_parameters():
            value = value.detach()
            if value.ndim == 4:
                leaves["kernel"] = value.permute(2, 3, 1, 0).numpy()
            elif value.ndim == 2:
                size = math.isqrt(value.shape[1] // maps)
                if not dense_seen:
                    value = value.reshape(-1, maps, size, size).permute(0, 2, 3, 1).flatten(1)
                leaves["kernel"], dense_seen = value.T.numpy(), True
            elif kind == "weight":
                leaves["scale"] = value.numpy()
            else:
                leaves["bias"] = value.numpy()
        if leaves:
            params[name] = leaves
    return params


def inputs(images):
    """Turns NHWC arrays into NCHW tensors."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


_NAMES = {"kernel": "{}.weight", "scale": "{}.weight", "bias": "{}.bias"}


def _flatten_channels_first(kernel, maps):
    """Reorders the rows of a [height * width * channels, out] kernel to channels, height, width."""
    size = math.isqrt(kernel.shape[0] // maps)
    return kernel.reshape(size, size, maps, -1).permute(2, 0, 1, 3).reshape(kernel.shape)
