r"""Fine-tuning to your own classes: a folder of images is all it needs, and weights to begin with.

    python -m alexnet_jax.main --config configs/finetune.py --config.data.path=DIR --config.init_weights=FILE

DIR holds one folder of images a class, or train/ and val/ with one folder a class in each. A fifth of the former is
evaluated with, unless DIR/train_list.txt and DIR/val_list.txt say what is. FILE is torchvision's
alexnet-owt-7be5be79.pth, any other file of weights, or a workdir. The convolutions stay as they are, fc6 and fc7 adapt
slowly, the classifier is new and learns ten times as fast; it has as many classes as DIR. To train everything:
--config.optimizer.freeze="()". Without data and weights, a few steps on made images:

    python -m alexnet_jax.main --config configs/finetune.py:smoke

Ours, not published. Verified in the tests: on photographs and digits, with small networks.
"""

from ml_collections import ConfigDict

from alexnet_jax.config import default_config, smoke, switches


def get_config(argument: str = "") -> ConfigDict:
    chosen = switches(argument, "smoke")
    config = default_config()
    config.model.variant = "torchvision"
    config.model.num_classes = None
    config.data.source = "folder"
    config.data.eval_fraction = 0.2
    config.batch_size = 32
    config.num_epochs = 10
    config.log_every_steps = 10
    config.augment.crop = "random_resized"
    config.augment.crop_area = (0.25, 1.0)
    config.augment.flip_probability = 0.5
    # 8/7 of the input of whichever variant the weights are: 256 of 224.
    config.eval.resize_pixels = 0
    config.optimizer.learning_rate = 0.001
    config.optimizer.weight_decay = 1e-4
    config.optimizer.decay_mask = "no_bias"
    config.optimizer.freeze = ("conv1", "conv2", "conv3", "conv4", "conv5")
    config.optimizer.head_learning_rate_factor = 10.0
    if "smoke" in chosen:
        smoke(config)
        config.model.num_classes = 10
        config.optimizer.freeze = ()
    return config
