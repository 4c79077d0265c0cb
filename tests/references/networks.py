"""Every variant once more, written down from its publication as a list of layers, independent of ``variants.py``.

A layer is a tuple: ("conv", out, kernel, stride, padding in pixels or "same", groups), ("bn",), ("relu",), ("lrn",),
("pool", window, stride), ("average", size), ("flatten",), ("dense", out), where out is None for the classes.
"""

RELU, BN, LRN, FLATTEN = ("relu",), ("bn",), ("lrn",), ("flatten",)
DENSE = (FLATTEN, ("dense", 4096), RELU, ("dense", 4096), RELU, ("dense", None))
OVERLAPPING, HALVING = ("pool", 3, 2), ("pool", 2, 2)


def conv(out, kernel, stride, padding, groups=1):
    return ("conv", out, kernel, stride, padding, groups)


NETWORKS = {
    "torchvision": (
        *(conv(64, 11, 4, 2), RELU, OVERLAPPING, conv(192, 5, 1, 2), RELU, OVERLAPPING),
        *(conv(384, 3, 1, 1), RELU, conv(256, 3, 1, 1), RELU, conv(256, 3, 1, 1), RELU),
        *(OVERLAPPING, ("average", 6), *DENSE),
    ),
    "paper2012": (
        *(conv(96, 11, 4, 0), RELU, LRN, OVERLAPPING, conv(256, 5, 1, 2, 2), RELU, LRN),
        *(OVERLAPPING, conv(384, 3, 1, 1), RELU, conv(384, 3, 1, 1, 2), RELU),
        *(conv(256, 3, 1, 1, 2), RELU, OVERLAPPING, *DENSE),
    ),
    "ascend_mindspore": (
        *(conv(64, 11, 4, "same"), RELU, OVERLAPPING, conv(192, 5, 1, "same"), RELU, OVERLAPPING),
        *(conv(384, 3, 1, "same"), RELU, conv(256, 3, 1, "same"), RELU),
        *(conv(256, 3, 1, "same"), RELU, OVERLAPPING, *DENSE),
    ),
    "mindspore_cifar": (
        *(conv(96, 11, 4, 0), RELU, OVERLAPPING, conv(256, 5, 1, "same"), RELU, OVERLAPPING),
        *(conv(384, 3, 1, "same"), RELU, conv(384, 3, 1, "same"), RELU),
        *(conv(256, 3, 1, "same"), RELU, OVERLAPPING, *DENSE),
    ),
    "mindspore_2022": (
        *(conv(64, 11, 4, "same"), RELU, OVERLAPPING, conv(128, 5, 1, "same"), RELU, OVERLAPPING),
        *(conv(192, 3, 1, "same"), RELU, conv(256, 3, 1, "same"), RELU),
        *(conv(256, 3, 1, "same"), RELU, OVERLAPPING, *DENSE),
    ),
    "deepspark": (
        *(conv(64, 3, 2, 1), BN, RELU, HALVING, conv(192, 3, 1, 1), BN, RELU, HALVING),
        *(conv(384, 3, 1, 1), BN, RELU, conv(256, 3, 1, 1), BN, RELU),
        *(conv(1024, 3, 1, 1), BN, RELU, HALVING, ("average", 1), *DENSE),
    ),
    "cifar32": (
        *(conv(64, 11, 4, 5), RELU, HALVING, conv(192, 5, 1, 2), RELU, HALVING),
        *(conv(384, 3, 1, 1), RELU, conv(256, 3, 1, 1), RELU, conv(256, 3, 1, 1), RELU),
        *(HALVING, FLATTEN, ("dense", None)),
    ),
}


def named_layers(variant):
    """Yields (name, layer): conv1, bn1, ..., fc6, ... for layers with parameters, "" for the others."""
    convolutions = dense = 0
    for layer in NETWORKS[variant]:
        if layer[0] == "conv":
            convolutions += 1
            yield f"conv{convolutions}", layer
        elif layer[0] == "bn":
            yield f"bn{convolutions}", layer
        elif layer[0] == "dense":
            dense += 1
            yield f"fc{convolutions + dense}", layer
        else:
            yield "", layer
