r"""ImageNet, the Ascend MindSpore recipe as its code runs, which is not quite as its README states it.

    python -m alexnet_jax.main --config configs/published/ascend_mindspore.py --config.data.path=DIR

Arguments: 1device (batch 256, learning rate 0.01625: an eighth of both, as published for one device), float32 (no loss
scale), smoke (a few steps on made images).

Published: 60.49 % top-1, 82.56 % top-5; 8,500 images/s on one Ascend 910, 20,000 on eight.
Differs from configs/imagenet.py: float16 with a static loss scale; the cosine moves once an epoch and has no offset for
the warm-up (it jumps to 0.12964 at epoch 5 and ends at 1.4e-5); the smoothed probability goes to the other classes; no
colour jitter.
Verified: network, initial parameters, learning rates, targets and what decays, in the tests. The accuracy is not:
ImageNet could not be had.
"""

from ml_collections import ConfigDict

from alexnet_jax.config import default_config, smoke, switches


def get_config(argument: str = "") -> ConfigDict:
    chosen = switches(argument, "smoke", "float32", "1device")
    config = default_config()
    config.model.variant = "ascend_mindspore"
    config.model.precision = "float32" if "float32" in chosen else "float16"
    config.batch_size = 256 if "1device" in chosen else 2048
    config.num_epochs = 150
    config.augment.crop = "random_resized"
    config.augment.flip_probability = 0.5
    config.eval.protocol = "squash"
    config.eval.resize_pixels = 256
    config.optimizer.learning_rate = 0.01625 if "1device" in chosen else 0.13
    config.optimizer.weight_decay = 1e-4
    config.optimizer.decay_mask = "no_bias"
    config.optimizer.label_smoothing = 0.1
    config.optimizer.label_smoothing_form = "other_classes"
    config.optimizer.loss_scale = "none" if "float32" in chosen else "static"
    config.optimizer.loss_scale_value = 1024.0
    config.schedule.name = "cosine"
    config.schedule.warmup_epochs = 5.0
    config.schedule.cosine_per_epoch = True
    config.schedule.cosine_from_start = True
    config.published.source = (
        "MindSpore, on one Ascend 910" if "1device" in chosen else "MindSpore, on eight Ascend 910"
    )
    config.published.top1 = 0.6049
    config.published.top5 = 0.8256
    config.published.images_per_second = 8_500.0 if "1device" in chosen else 20_000.0
    if "smoke" in chosen:
        smoke(config)
    return config
