r"""ImageNet, the Ascend PyTorch recipe: the torchvision network in float16 with a dynamic loss scale.

    python -m alexnet_jax.main --config configs/published/ascend_pytorch.py --config.data.path=DIR

Arguments: 1device (batch 128, learning rate 0.01, as published for one device), float32, smoke.

Published: 57.885 % top-1 on eight Ascend 910; 9,408 images/s on one device, 4,766 on eight.
Verified: network, learning rates, targets and what decays, in the tests. The accuracy is not: ImageNet could not be
had.
"""

from ml_collections import ConfigDict

from alexnet_jax.config import default_config, smoke, switches


def get_config(argument: str = "") -> ConfigDict:
    chosen = switches(argument, "smoke", "float32", "1device")
    config = default_config()
    config.model.variant = "torchvision"
    config.model.precision = "float32" if "float32" in chosen else "float16"
    config.batch_size = 128 if "1device" in chosen else 1024
    config.num_epochs = 90
    config.augment.crop = "random_resized"
    config.augment.flip_probability = 0.5
    config.eval.protocol = "center"
    config.eval.resize_pixels = 256
    config.optimizer.learning_rate = 0.01 if "1device" in chosen else 0.04
    config.optimizer.weight_decay = 1e-4
    config.optimizer.label_smoothing = 0.1
    config.optimizer.loss_scale = "none" if "float32" in chosen else "dynamic"
    config.schedule.name = "cosine"
    config.schedule.cosine_per_epoch = True
    if "1device" in chosen:
        config.published.source = "Ascend, PyTorch, on one Ascend 910"
        config.published.images_per_second = 9408.0
    else:
        config.published.source = "Ascend, PyTorch, on eight Ascend 910"
        config.published.top1 = 0.57885
        config.published.images_per_second = 4766.0
    if "smoke" in chosen:
        smoke(config)
    return config
