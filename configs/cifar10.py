r"""CIFAR-10 at 227 pixels with modern settings of ours: bfloat16, cosine with warm-up, label smoothing.

    python -m alexnet_jax.main --config configs/cifar10.py --config.data.path=DIR

DIR holds cifar-10-batches-bin, CIFAR-10's binary version. Without it, a few steps on made images:

    python -m alexnet_jax.main --config configs/cifar10.py:smoke

To beat: 88.51 % top-1 in 30 epochs, MindSpore's CIFAR-10 AlexNet on a GPU. Not verified: the data could not be had.
"""

from ml_collections import ConfigDict

from alexnet_jax.config import default_config, smoke, switches


def get_config(argument: str = "") -> ConfigDict:
    chosen = switches(argument, "smoke", "float32")
    config = default_config()
    config.model.variant = "mindspore_cifar"
    config.model.num_classes = 10
    config.model.precision = "float32" if "float32" in chosen else "bfloat16"
    config.data.source = "cifar10_binary"
    config.data.mean = (0.4914, 0.4822, 0.4465)
    config.data.std = (0.2023, 0.1994, 0.2010)
    config.batch_size = 256
    config.num_epochs = 30
    config.augment.crop = "pad"
    config.augment.crop_padding_pixels = 4
    config.augment.flip_probability = 0.5
    config.eval.protocol = "squash"
    config.optimizer.learning_rate = 0.02
    config.optimizer.weight_decay = 5e-4
    config.optimizer.decay_mask = "no_bias"
    config.optimizer.label_smoothing = 0.1
    config.schedule.name = "cosine"
    config.schedule.warmup_epochs = 2.0
    config.published.source = "MindSpore, CIFAR-10 at 227 pixels, on one V100"
    config.published.top1 = 0.8851
    if "smoke" in chosen:
        smoke(config)
    return config
