"""Prepares CIFAR-10 and ImageNet in ArrayRecord with TFDS's own builders, from archives downloaded by hand.

    python -m alexnet_jax.data.prepare cifar10|imagenet2012 ARCHIVES DATA_DIR

Needs TensorFlow (pip install -e '.[prepare]'); scripts/prepare_tfds.sh installs it and calls this.
"""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from alexnet_jax.errors import RequestError

ARCHIVES = {
    "cifar10": ("cifar-10-binary.tar.gz",),
    "imagenet2012": ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"),
}
WHERE = {
    "cifar10": "from https://www.cs.toronto.edu/~kriz/cifar.html, the binary version",
    "imagenet2012": "from https://image-net.org, after registering",
}


def prepare(name: str, archives: Path, data_dir: Path) -> Path:
    """Runs TFDS's builder.

    Args:
      name: A key of ``ARCHIVES``.
      archives: The directory that holds the downloaded files.
      data_dir: Where the data set is written, in NAME/VERSION.

    Returns:
      The directory of the prepared data set.

    Raises:
      RequestError: If an archive or TensorFlow is missing.
    """
    if name not in ARCHIVES:
        raise RequestError(f"cannot prepare {name!r}; only {' and '.join(ARCHIVES)}.")
    if missing := [file for file in ARCHIVES[name] if not (archives / file).is_file()]:
        raise RequestError(
            f"{archives} lacks {', '.join(missing)}; download it {WHERE[name]}, and do not unpack it."
        )
    if importlib.util.find_spec("tensorflow") is None:
        raise RequestError(
            "preparing a TFDS data set needs TensorFlow; pip install -e '.[prepare]' in the checkout, or use "
            "scripts/prepare_tfds.sh, which installs it in an environment of its own."
        )
    import tensorflow_datasets

    builder = tensorflow_datasets.builder(name, data_dir=data_dir)
    builder.download_and_prepare(
        download_dir=data_dir / "downloads",
        download_config=tensorflow_datasets.download.DownloadConfig(
            manual_dir=archives, try_download_gcs=False
        ),
        file_format="array_record",
    )
    return Path(builder.data_dir)


def main(arguments: Sequence[str]) -> int:
    """Prepares, and says how to train from the result."""
    try:
        if len(arguments) != 3:
            raise RequestError(
                f"usage: prepare {'|'.join(ARCHIVES)} ARCHIVES DATA_DIR; got {' '.join(arguments)!r}."
            )
        name, archives, data_dir = arguments
        where = prepare(name, Path(archives), Path(data_dir))
    except RequestError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{where} is ready: --config.data.source=tfds --config.data.path={where}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
