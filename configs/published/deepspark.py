r"""ImageNet, the Iluvatar DeepSpark recipe: the batch-normalised AlexNet.

    python -m alexnet_jax.main --config configs/published/deepspark.py --config.data.path=DIR

Arguments: 1device (batch 256, learning rate 0.1, as published for one device), smoke.

Published: the recipe for eight Iluvatar devices and for one; no figure.
Verified: network, batch statistics, learning rates and what decays, in the tests. The accuracy is not: ImageNet could
not be had.
"""

from ml_collections import ConfigDict

from alexnet_jax.config import default_config, smoke, switches


def get_config(argument: str = "") -> ConfigDict:
    chosen = switches(argument, "smoke", "1device")
    config = default_config()
    config.model.variant = "deepspark"
    config.model.precision = "float32"
    config.batch_size = 256 if "1device" in chosen else 2048
    config.num_epochs = 90
    config.augment.crop = "random_resized"
    config.augment.flip_probability = 0.5
    config.eval.protocol = "center"
    config.eval.resize_pixels = 256
    config.optimizer.learning_rate = 0.1 if "1device" in chosen else 0.01
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "step"
    config.schedule.step_epochs = 30.0
    config.schedule.step_factor = 0.1
    if "smoke" in chosen:
        smoke(config)
    return config
