r"""ImageNet, the AlexNet-PyTorch recipe: torchvision's network with five times its weight decay.

    python -m alexnet_jax.main --config configs/published/alexnet_pytorch.py --config.data.path=DIR

Arguments: plateau (the rate falls when the evaluation loss stalls, by PyTorch's defaults), smoke.

Published: 55.654 % top-1, 78.608 % top-5; the hardware is not stated.
Verified: network, learning rates and what decays, in the tests. The accuracy is not: ImageNet could not be had.
"""

from ml_collections import ConfigDict

from alexnet_jax.config import default_config, smoke, switches


def get_config(argument: str = "") -> ConfigDict:
    chosen = switches(argument, "smoke", "plateau")
    config = default_config()
    config.model.variant = "torchvision"
    config.model.precision = "float32"
    config.batch_size = 128
    config.num_epochs = 90
    config.augment.crop = "random_resized"
    config.augment.flip_probability = 0.5
    config.eval.protocol = "center"
    config.eval.resize_pixels = 256
    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 5e-4
    config.schedule.name = "plateau" if "plateau" in chosen else "step"
    config.schedule.step_epochs = 30.0
    config.schedule.step_factor = 0.1
    config.published.source = "AlexNet-PyTorch; the hardware is not stated"
    config.published.top1 = 0.55654
    config.published.top5 = 0.78608
    if "smoke" in chosen:
        smoke(config)
    return config
