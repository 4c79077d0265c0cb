"""scikit-learn's bundled handwritten digits: 1,797 real images of 8 x 8 pixels, no download."""

import numpy as np
from PIL import Image

from alexnet_jax.data.sources.base import ArraySource, SourceSettings
from alexnet_jax.errors import RequestError

IMAGE_SIZE = 32  # the smallest published AlexNet's input; bilinear from 8
TEST_FRACTION = 0.2


def open_split(settings: SourceSettings, split: str) -> ArraySource:
    """Opens the digits: 1,437 for training, 360 for evaluation, the same ones always and every class in both.

    Raises:
      RequestError: If scikit-learn is not installed.
    """
    del settings
    try:
        from sklearn import datasets, model_selection
    except ImportError as error:
        raise RequestError(
            "data.source='digits' needs scikit-learn, which carries the images; "
            "pip install -e '.[quickstart]' in the checkout."
        ) from error
    digits = datasets.load_digits()
    train, test = model_selection.train_test_split(
        np.arange(len(digits.target)),
        test_size=TEST_FRACTION,
        random_state=0,
        stratify=digits.target,
    )
    chosen = train if split == "train" else test
    images = np.stack([_enlarge(digits.images[i]) for i in chosen])
    names = tuple(str(name) for name in digits.target_names)
    return ArraySource(images, digits.target[chosen].astype(np.int32), names)


def _enlarge(image: np.ndarray) -> np.ndarray:
    """Turns an 8 x 8 image of 0..16 into 32 x 32 x 3 uint8."""
    grey = Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8))
    enlarged = np.asarray(grey.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR))
    return np.repeat(enlarged[:, :, None], 3, axis=2)
