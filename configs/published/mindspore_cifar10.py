r"""CIFAR-10 at 227 pixels, the MindSpore recipe.

    python -m alexnet_jax.main --config configs/published/mindspore_cifar10.py --config.data.path=DIR

DIR holds cifar-10-batches-bin, CIFAR-10's binary version. Argument: smoke (a few steps on made images).

Published: 88.32 % top-1 in 17 minutes on one Ascend 910 (21 ms a step), 88.51 % in 14 minutes on one GPU, a V100
(16.8 ms a step).
Verified: network, initial parameters, learning rates and what decays, in the tests. The accuracy is not: the data could
not be had.
"""

from ml_collections import ConfigDict

from alexnet_jax.config import default_config, smoke, switches


def get_config(argument: str = "") -> ConfigDict:
    chosen = switches(argument, "smoke")
    config = default_config()
    config.model.variant = "mindspore_cifar"
    config.model.num_classes = 10
    config.model.precision = "float32"
    config.data.source = "cifar10_binary"
    config.data.mean = (0.4914, 0.4822, 0.4465)
    config.data.std = (0.2023, 0.1994, 0.2010)
    config.batch_size = 32
    config.num_epochs = 30
    config.augment.crop = "pad"
    config.augment.crop_padding_pixels = 4
    config.augment.flip_probability = 0.5
    config.eval.protocol = "squash"
    config.optimizer.learning_rate = 0.002
    config.schedule.name = "step"
    config.schedule.step_fractions = (0.8,)
    config.schedule.step_factor = 0.1
    config.published.source = "MindSpore, on one V100 (88.32 % on one Ascend 910)"
    config.published.top1 = 0.8851
    if "smoke" in chosen:
        smoke(config)
    return config
