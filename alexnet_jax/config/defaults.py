"""Every setting with its default; a recipe is a diff against it."""

from ml_collections import ConfigDict, config_dict

from alexnet_jax.data.preprocess import IMAGENET_MEAN, IMAGENET_STD


def default_config() -> ConfigDict:
    """Returns every key with its default; a recipe is a diff against it.

    Keys that are None take the variant's own value.
    """
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 256  # global: over all devices and processes
    config.num_epochs = 90
    config.init_weights = ""  # a file of weights, or a workdir, to start from
    config.log_every_steps = 50
    config.eval_every_epochs = 1  # 0: only at the end
    config.steps_per_dispatch = 0  # of data on the device; 0: chosen

    config.model = ConfigDict()
    config.model.variant = "torchvision"
    config.model.num_classes = config_dict.FieldReference(1000, int)  # None: the data's
    config.model.dropout_rate = config_dict.placeholder(float)
    config.model.precision = "auto"
    config.model.layers = "auto"  # how they are computed; the same results

    config.data = ConfigDict()
    config.data.source = "folder"
    config.data.path = ""
    config.data.name = ""  # of "tfds", e.g. "imagenet2012"
    config.data.train_split = "train"  # of "tfds", in its notation
    config.data.eval_split = ""  # of "tfds"; empty: "validation", or else "test"
    config.data.eval_fraction = 0.0  # of "folder" that is not divided; 0: it must be
    config.data.image_size = config_dict.placeholder(int)  # pixels
    config.data.mean = IMAGENET_MEAN  # on the 0-1 scale
    config.data.std = IMAGENET_STD
    config.data.num_threads = 0  # decoding; 0: one a processor
    config.data.resident = "auto"  # whole on the device: "true", "false", or where it fits
    config.data.max_broken_fraction = 0.001  # more unreadable images than this stop the run
    config.data.synthetic_examples = 1_281_167  # as many as ImageNet

    config.augment = ConfigDict()
    config.augment.crop = "none"
    config.augment.crop_area = (0.08, 1.0)  # of "random_resized", fractions of the image
    config.augment.crop_aspect = (3 / 4, 4 / 3)  # of "random_resized", width / height
    config.augment.crop_padding_pixels = 4  # of "pad"
    config.augment.crop_resize_pixels = 256  # of "random": what the crop is taken from
    config.augment.flip_probability = 0.0
    config.augment.color_jitter = 0.0
    config.augment.pca_noise = 0.0  # standard deviation of the components' weights
    config.augment.mixup_alpha = 0.0  # 0: no mixup
    config.augment.cutmix_alpha = 0.0  # 0: no CutMix

    config.eval = ConfigDict()
    config.eval.protocol = "center"
    # None: no more than the input needs; of "ten_crop", and where 0, 8/7 of it, as 256 to 224
    config.eval.resize_pixels = config_dict.placeholder(int)
    config.eval.use_ema = False  # the moving average of the parameters in their place

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 0.01
    config.optimizer.momentum = 0.9
    config.optimizer.nesterov = False
    config.optimizer.weight_decay = 0.0
    config.optimizer.decay_mask = "all"
    config.optimizer.label_smoothing = 0.0
    config.optimizer.label_smoothing_form = "all_classes"
    config.optimizer.accumulate_steps = 1  # parts a batch is cut into, to need less memory
    config.optimizer.clip_norm = 0.0  # of all gradients together; 0: no clipping
    config.optimizer.freeze = ()  # names of layers that stay as they are
    config.optimizer.head_learning_rate_factor = 1.0  # of the classifier
    config.optimizer.ema_decay = 0.0  # of the parameters' moving average; 0: none is kept
    config.optimizer.loss_scale = "auto"  # "dynamic" for float16, else "none"
    config.optimizer.loss_scale_value = 65536.0  # of "static"; where "dynamic" begins

    config.schedule = ConfigDict()
    config.schedule.name = "cosine"
    config.schedule.warmup_epochs = 0.0
    config.schedule.step_epochs = 30.0
    config.schedule.step_factor = 0.1
    config.schedule.step_fractions = ()  # of the run; given, in the place of step_epochs
    config.schedule.cosine_per_epoch = False
    config.schedule.cosine_from_start = False  # True: no offset for the warm-up
    config.schedule.plateau_metric = "loss"
    config.schedule.plateau_factor = 0.1
    config.schedule.plateau_patience = 10  # evaluations
    config.schedule.plateau_threshold = 1e-4  # of the best value
    config.schedule.plateau_min_learning_rate = 0.0

    config.parallelism = "jit"
    config.distributed = ConfigDict()  # all three, or none where SLURM or Open MPI say them
    config.distributed.coordinator = ""
    config.distributed.num_processes = 0
    config.distributed.process_id = -1
    config.backend = "auto"
    config.backend_library = ""
    config.backend_options = ConfigDict()  # any key: the plugin's own
    config.compilation_cache = "auto"  # the user's cache directory; "off"; or a directory

    config.checkpoint = ConfigDict()
    config.checkpoint.every_epochs = 1  # 0: not by epochs
    config.checkpoint.every_steps = 0  # 0: not by steps
    config.checkpoint.keep = 2
    config.checkpoint.keep_best = True
    config.checkpoint.max_failed_saves = 5  # in a row; one more stops the run

    config.health = ConfigDict()
    config.health.on_nonfinite = "stop"  # or "rollback", to the last checkpoint
    config.health.rollback_factor = 0.5  # on the learning rate, for the rest of the run
    config.health.max_rollbacks = 3
    config.health.stall_seconds = 600.0  # without a step: every thread's stack; 0: never
    config.health.max_stall_seconds = 3600.0  # without a step: ends the run; 0: never

    config.published = ConfigDict()  # what the publisher reports, to compare with; None: nothing
    config.published.source = ""  # who, and on what
    config.published.top1 = config_dict.placeholder(float)
    config.published.top5 = config_dict.placeholder(float)
    config.published.images_per_second = config_dict.placeholder(float)
    config.lock()
    config.backend_options.unlock()
    return config
