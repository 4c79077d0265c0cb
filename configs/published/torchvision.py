r"""ImageNet, the recipe of torchvision's pretrained AlexNet.

    python -m alexnet_jax.main --config configs/published/torchvision.py --config.data.path=DIR

Argument: smoke (a few steps on made images).

Published: 56.522 % top-1, 79.066 % top-5, the IMAGENET1K_V1 weights; the hardware is not stated.
Verified: network, learning rates and what decays, in the tests. The accuracy is not: ImageNet could not be had.
"""

from ml_collections import ConfigDict

from alexnet_jax.config import default_config, smoke, switches


def get_config(argument: str = "") -> ConfigDict:
    chosen = switches(argument, "smoke")
    config = default_config()
    config.model.variant = "torchvision"
    config.model.precision = "float32"
    config.batch_size = 256
    config.num_epochs = 90
    config.augment.crop = "random_resized"
    config.augment.flip_probability = 0.5
    config.eval.protocol = "center"
    config.eval.resize_pixels = 256
    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "step"
    config.schedule.step_epochs = 30.0
    config.schedule.step_factor = 0.1
    config.published.source = "torchvision, IMAGENET1K_V1; the hardware is not stated"
    config.published.top1 = 0.56522
    config.published.top5 = 0.79066
    if "smoke" in chosen:
        smoke(config)
    return config
