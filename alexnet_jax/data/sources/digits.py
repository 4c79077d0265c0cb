"""scikit-learn's bundled handwritten digits: 1,797 real images of 8 x 8 pixels, no download."""

from importlib import util
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet_jax.data.sources.base import ArraySource, SourceSettings
from alexnet_jax.errors import RequestError

IMAGE_SIZE = 32  # the smallest published AlexNet's input; bilinear from 8
TRAIN_SIZE = 1437
ORDER = Path(__file__).with_name("digits_split.txt")


def open_split(settings: SourceSettings, split: str) -> ArraySource:
    """Opens the digits: 1,437 for training, 360 for evaluation, the same ones always and every class in both.

    Raises:
      RequestError: If scikit-learn is not installed.
    """
    del settings
    pixels, labels = _read()
    train, test = np.split(np.loadtxt(ORDER, dtype=np.int32), [TRAIN_SIZE])
    chosen = train if split == "train" else test
    images = np.stack([_enlarge(pixels[i]) for i in chosen])
    return ArraySource(images, labels[chosen], tuple("0123456789"))


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Returns [1797, 8, 8] float64 pixels of 0..16, and int32 labels.

    From scikit-learn's file, without its import, which takes a second and more: a quarter of a run's second start.
    """
    found = util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise RequestError(
            "data.source='digits' needs scikit-learn, which carries the images; "
            "pip install -e '.[quickstart]' in the checkout."
        )
    file = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if file.exists():
        table = np.loadtxt(file, delimiter=",")
        return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int32)
    from sklearn.datasets import load_digits  # a version that keeps it elsewhere

    digits = load_digits()
    return digits.images, digits.target.astype(np.int32)


def _enlarge(image: np.ndarray) -> np.ndarray:
    """Turns an 8 x 8 image of 0..16 into 32 x 32 x 3 uint8."""
    grey = Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8))
    enlarged = np.asarray(grey.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR))
    return np.repeat(enlarged[:, :, None], 3, axis=2)
