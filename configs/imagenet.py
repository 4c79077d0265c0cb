r"""ImageNet, the Ascend MindSpore recipe as its README states it, in bfloat16.

    python -m alexnet_jax.main --config configs/imagenet.py --config.data.path=DIR

DIR holds train/ and val/ with one folder of JPEGs a class. Without it, a few steps on made images:

    python -m alexnet_jax.main --config configs/imagenet.py:smoke

Published: 60.49 % top-1, 82.56 % top-5 after 150 epochs, on Ascend 910. Not verified: ImageNet could not be had.
"""

from ml_collections import ConfigDict

from alexnet_jax.config import default_config, smoke, switches


def get_config(argument: str = "") -> ConfigDict:
    chosen = switches(argument, "smoke", "float32")
    config = default_config()
    config.model.variant = "ascend_mindspore"
    config.model.precision = "float32" if "float32" in chosen else "bfloat16"
    config.data.source = "folder"
    config.batch_size = 2048
    config.num_epochs = 150
    config.augment.crop = "random_resized"
    config.augment.flip_probability = 0.5
    config.augment.color_jitter = 0.4
    config.eval.protocol = "squash"
    config.eval.resize_pixels = 256
    config.optimizer.learning_rate = 0.13
    config.optimizer.weight_decay = 1e-4
    config.optimizer.decay_mask = "no_bias"
    config.optimizer.label_smoothing = 0.1
    config.schedule.name = "cosine"
    config.schedule.warmup_epochs = 5.0
    config.published.source = "MindSpore, on Ascend 910"
    config.published.top1 = 0.6049
    config.published.top5 = 0.8256
    if "smoke" in chosen:
        smoke(config)
    return config
