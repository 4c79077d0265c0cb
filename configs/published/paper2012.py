r"""ImageNet, the 2012 paper: two towers, response normalisation, PCA noise, ten crops.

    python -m alexnet_jax.main --config configs/published/paper2012.py --config.data.path=DIR

Argument: smoke (a few steps on made images).

Published: 59.3 % top-1, 81.8 % top-5 for one network, in five to six days on two GTX 580 GPUs.
Ours, where the paper went by hand: the rate falls when top-1 has not risen for more than five evaluations. The paper's
arithmetic needs crops of 227 pixels, not the 224 it states; it subtracts a mean image, this a mean colour.
Verified: network, initial parameters, towers, crops, noise and learning rates, in the tests. The accuracy is not:
ImageNet could not be had.
"""

from ml_collections import ConfigDict

from alexnet_jax.config import default_config, smoke, switches


def get_config(argument: str = "") -> ConfigDict:
    chosen = switches(argument, "smoke")
    config = default_config()
    config.model.variant = "paper2012"
    config.model.precision = "float32"
    config.data.std = (1 / 255, 1 / 255, 1 / 255)  # section 2: centred pixels of 0-255, not scaled
    config.batch_size = 128
    config.num_epochs = 90
    config.augment.crop = "random"
    config.augment.crop_resize_pixels = 256
    config.augment.flip_probability = 0.5
    config.augment.pca_noise = 0.1
    config.eval.protocol = "ten_crop"
    config.eval.resize_pixels = 256
    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 5e-4
    config.schedule.name = "plateau"
    config.schedule.plateau_metric = "top1"
    config.schedule.plateau_factor = 0.1
    config.schedule.plateau_patience = 5
    config.schedule.plateau_min_learning_rate = 1e-5  # the third time
    config.published.source = "Krizhevsky 2012, one network, on two GTX 580"
    config.published.top1 = 0.593
    config.published.top5 = 0.818
    if "smoke" in chosen:
        smoke(config)
    return config
