"""CIFAR-10's and ImageNet's archives in their exact format, small, with real photographs."""

import io
import tarfile
from pathlib import Path

import numpy as np

from tests.data.photos import encode, jpeg, odd_images, photo, truncated

CIFAR10_PER_FILE = 20
CIFAR10_NAMES = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]

# TFDS's builder converts some files by their names (ImageNet's CMYK JPEGs and its PNG) and leaves the others alone.
SYNSETS = {
    "n01440764": {
        "n01440764_1.JPEG": jpeg(0),
        "n01440764_2.JPEG": odd_images()["cmyk"],
        "n01440764_3.JPEG": odd_images()["grey"],
        "n01440764_4.JPEG": truncated(3),
        "n01440764_5.JPEG": jpeg(4),
        "n01440764_6.JPEG": jpeg(5),
    },
    "n01739381": {
        "n01739381_1309.JPEG": encode(photo(6).convert("CMYK")),
        "n01739381_2.JPEG": odd_images()["exif_rotated"],
        "n01739381_3.JPEG": odd_images()["png_named_jpeg"],
    },
    "n02105855": {
        "n02105855_2933.JPEG": encode(photo(8), "PNG"),
        "n02105855_7.JPEG": odd_images()["progressive"],
        "n02105855_8.JPEG": jpeg(10, 180, 240),
    },
}
VALIDATION = {f"ILSVRC2012_val_{number:08}.JPEG": jpeg(20 + number) for number in range(1, 8)}


def _tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def cifar10_records() -> np.ndarray:
    """Returns all records [120, 3073], the last 20 for testing."""
    records = []
    for number in range(6 * CIFAR10_PER_FILE):
        pixels = np.asarray(photo(number, 32, 32)).transpose(2, 0, 1).ravel()
        records.append(np.concatenate([[number * 7 % 10], pixels]))
    return np.array(records, np.uint8)


def write_cifar10(directory: Path) -> np.ndarray:
    records = cifar10_records()
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    files = {
        f"cifar-10-batches-bin/{name}": part.tobytes()
        for name, part in zip(names, np.split(records, 6), strict=True)
    }
    files["cifar-10-batches-bin/batches.meta.txt"] = ("\n".join(CIFAR10_NAMES) + "\n\n").encode()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cifar-10-binary.tar.gz").write_bytes(_tar(files, "w:gz"))
    return records


def write_imagenet(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    inner = {f"{synset}.tar": _tar(files) for synset, files in SYNSETS.items()}
    (directory / "ILSVRC2012_img_train.tar").write_bytes(_tar(inner))
    (directory / "ILSVRC2012_img_val.tar").write_bytes(_tar(VALIDATION))


def write_imagenet_folders(directory: Path, validation_labels: dict[str, str]) -> None:
    """The same images unpacked, one folder a class.

    Args:
      directory: For train/ and val/.
      validation_labels: The synset of each file of ``VALIDATION``.
    """
    for synset, files in SYNSETS.items():
        for name, data in files.items():
            _write(directory / "train" / synset / name, data)
    for name, data in VALIDATION.items():
        _write(directory / "val" / validation_labels[name] / name, data)


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
