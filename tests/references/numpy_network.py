"""The forward pass in NumPy, double precision, NHWC: slow, plain, and made of nothing the package uses."""

import numpy as np

from tests.references.networks import named_layers


def logits(variant, params, statistics, images):
    """Returns [batch, classes] in evaluation."""
    x = images.astype(np.float64)
    for name, layer in named_layers(variant):
        kind, *options = layer
        if kind == "conv":
            _, _, stride, padding, groups = options
            x = convolution(x, params[name], stride, padding, groups)
        elif kind == "bn":
            mean, var = statistics[name]["mean"], statistics[name]["var"]
            x = (x - mean) / np.sqrt(var + 1e-5) * params[name]["scale"] + params[name]["bias"]
        elif kind == "dense":
            x = x @ params[name]["kernel"].astype(np.float64) + params[name]["bias"]
        else:
            x = PLAIN[kind](x, *options)
    return x


def convolution(x, params, stride, padding, groups=1):
    kernel = params["kernel"].astype(np.float64)
    size = kernel.shape[0]
    if padding == "same":
        total = max((-(-x.shape[1] // stride) - 1) * stride + size - x.shape[1], 0)
        before, after = total // 2, total - total // 2
    else:
        before = after = padding
    x = np.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]  # [batch, row, column, channel, i, j]
    outputs = [
        np.tensordot(inputs, part, axes=((3, 4, 5), (2, 0, 1)))
        for inputs, part in zip(
            np.split(windows, groups, axis=3), np.split(kernel, groups, axis=3), strict=True
        )
    ]
    return np.concatenate(outputs, axis=-1) + params.get("bias", 0.0)


def max_pool(x, window, stride):
    windows = np.lib.stride_tricks.sliding_window_view(x, (window, window), axis=(1, 2))
    return windows[:, ::stride, ::stride].max((-2, -1))


def local_response_norm(x):
    """Section 3.3 of the 2012 paper: k=2, n=5, alpha=1e-4 for each element of the sum, beta=.75."""
    channels = x.shape[-1]
    result = np.empty_like(x)
    for i in range(channels):
        nearby = x[..., max(0, i - 2) : min(channels, i + 3)]
        result[..., i] = x[..., i] / (2 + 1e-4 * (nearby**2).sum(-1)) ** 0.75
    return result


def adaptive_average_pool(x, size):
    rows, columns = (
        [slice(i * n // size, -(-(i + 1) * n // size)) for i in range(size)] for n in x.shape[1:3]
    )
    return np.stack(
        [np.stack([x[:, r, c].mean((1, 2)) for c in columns], axis=1) for r in rows], axis=1
    )


PLAIN = {
    "relu": lambda x: np.maximum(x, 0),
    "lrn": local_response_norm,
    "pool": max_pool,
    "average": adaptive_average_pool,
    "flatten": lambda x: x.reshape(len(x), -1),
}
