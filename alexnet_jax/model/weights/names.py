"""What the publishers call the layers: one row a variant; one without a row keeps our names."""

import dataclasses
from collections.abc import Mapping

from alexnet_jax.model.variants import get_variant

# Our parameter or statistic -> PyTorch's; MindSpore's are the same, and its AlexNets have no batch normalisation.
LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
BATCH_COUNT = "num_batches_tracked"  # PyTorch's; only its momentum=None uses it

# What wrappers put into the names of what they wrap, the network or a part of it: DataParallel, torch.compile.
WRAPPERS = frozenset(("module", "_orig_mod"))
PREFIX = "model."  # before every name: where a LightningModule has its network


@dataclasses.dataclass(frozen=True)
class Naming:
    """The names of a variant's publisher.

    Attributes:
      layers: Our layer -> theirs.
      ignored: Patterns of names that are no weights: counters and the optimizer's own.
    """

    layers: Mapping[str, str]
    ignored: tuple[str, ...] = ()


_TORCHVISION_CONVOLUTIONS = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
}
_MINDSPORE = Naming(
    {
        **{name: name for name in ("conv1", "conv2", "conv3", "conv4", "conv5")},
        "fc6": "fc1",
        "fc7": "fc2",
        "fc8": "fc3",
    },
    ignored=(
        "moments.*",
        "accum.*",
        "stat.*",
        "momentum",
        "learning_rate",
        "global_step",
        "epoch_num",
        "step_num",
        "scale_sense",
        "loss_scale",
        "current_iterator_step",
        "last_overflow_iterator_step",
    ),
)

NAMES = {
    "torchvision": Naming(
        {
            **_TORCHVISION_CONVOLUTIONS,
            "fc6": "classifier.1",
            "fc7": "classifier.4",
            "fc8": "classifier.6",
        }
    ),
    "paper2012": Naming(  # Caffe's
        {name: name for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")}
    ),
    "ascend_mindspore": _MINDSPORE,
    "mindspore_cifar": _MINDSPORE,
    "mindspore_2022": _MINDSPORE,
    "deepspark": Naming(
        {
            "conv1": "features.0",
            "bn1": "features.1",
            "conv2": "features.4",
            "bn2": "features.5",
            "conv3": "features.8",
            "bn3": "features.9",
            "conv4": "features.11",
            "bn4": "features.12",
            "conv5": "features.14",
            "bn5": "features.15",
            "fc6": "classifier.1",
            "fc7": "classifier.4",
            "fc8": "classifier.6",
        },
        ignored=(f"*.{BATCH_COUNT}",),
    ),
    "cifar32": Naming({**_TORCHVISION_CONVOLUTIONS, "fc6": "classifier"}),
}


def naming(variant: str) -> Naming:
    """Returns the names of a variant's publisher; our own where there is no row of others.

    Raises:
      RequestError: If there is no such variant.
    """
    if variant in NAMES:
        return NAMES[variant]
    ours = {name: name for name in get_variant(variant).layer_names}
    return Naming(ours, ignored=(f"*.{BATCH_COUNT}",))
