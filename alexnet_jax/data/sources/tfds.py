"""TensorFlow Datasets in ArrayRecord files, their images left encoded; reading needs no TensorFlow."""

import concurrent.futures
import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.json_format import ParseError
from google.protobuf.message import DecodeError

from alexnet_jax.data.decode import UNREADABLE, open_image
from alexnet_jax.data.fingerprint import digest
from alexnet_jax.data.sources.base import (
    SPLITS,
    ArraySource,
    Example,
    Source,
    SourceSettings,
)
from alexnet_jax.data.sources.tfrecord import TfrecordFiles
from alexnet_jax.errors import RequestError, reading

DEFAULT_DIRECTORY = "~/tensorflow_datasets"  # TFDS's own
METADATA_FILE = "dataset_info.json"
# ImageNet's "test" has no labels, so where there is a validation split it comes first.
EVAL_SPLITS = ("validation", "test")
# Up to this, the images of both splits, where all are of one size, are decoded once at the start: CIFAR-10 has 184 MB.
IN_MEMORY_BYTES = 2**30
PREPARE = "bash scripts/prepare_tfds.sh"
# What TFDS raises for metadata that are missing, cut short, or of another kind than it expects.
_DAMAGED = (*(ParseError, ValueError, LookupError, TypeError, AttributeError, OSError),)


class TfdsSource:
    """One split of a TFDS data set, each image as the bytes of its file."""

    def __init__(self, builder: Any, split: str, open_examples: Callable[[], Any]):
        """Wraps examples that TFDS reads.

        Args:
          builder: TFDS's, of the prepared data set.
          split: In TFDS's notation.
          open_examples: Returns a sequence of dicts, each with its image left encoded.
        """
        self._info, self._split, self._open = builder.info, split, open_examples
        self._examples = open_examples()
        self._image, self._label = _keys(builder.info)
        self.class_names = tuple(builder.info.features[self._label].names)

    @property
    def num_classes(self) -> int:
        """How many classes the labels come from."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        example = self._read(index)
        return {"image": example[self._image], "label": int(example[self._label])}

    def _read(self, index: int) -> dict[str, Any]:
        """Returns an example as TFDS has it.

        Raises:
          OSError: If it cannot be read. array_record says so with a RuntimeError, whatever the cause, which only its
            text tells.
        """
        try:
            return self._read_twice(index)
        except (RuntimeError, DecodeError) as error:
            gone = os.strerror(errno.ENOENT) in str(error)
            raise OSError(errno.ENOENT if gone else errno.EIO, str(error)) from error

    def _read_twice(self, index: int) -> dict[str, Any]:
        """Returns an example; where it cannot be read, of files opened anew.

        A reader of array_record that could not open its file for a moment stays so.
        """
        try:
            return self._examples[index]
        except RuntimeError:
            again = self._open()
            example = again[index]
            self._examples = again
            return example

    def describe(self, index: int) -> str:
        """Returns the place of an example and, where it is recorded and can be read, its file's name."""
        place = f"{self._info.full_name} {self._split}, example {index}"
        try:
            name = self._read(index).get("file_name")
            return f"{place}, {name.decode()}" if name else place
        except UNREADABLE:  # of which an example is described, most often
            return place

    def fingerprint(self) -> str:
        """Returns a digest of the data set's name and version, the split and the sizes of its shards."""
        splits = [self._info.splits[name] for name in sorted(self._info.splits)]
        sizes = [f"{split.name} {split.shard_lengths} {split.num_bytes}\n" for split in splits]
        return digest([f"{self._info.full_name} {self._split}\n", *sizes])


def open_split(settings: SourceSettings, split: str) -> Source:
    """Opens a split of the data set ``settings.name`` below ``settings.path``, or of the one prepared in that path.

    Raises:
      RequestError: If it is missing, not in ArrayRecord, or not of images and labels.
    """
    builder, name = _open_builder(settings, split)
    if "array_record" not in _formats(builder):
        where = builder.info.data_dir
        raise RequestError(
            f"{where} was prepared as {', '.join(_formats(builder))}, which cannot be read in random order; convert it "
            f"once: python -m alexnet_jax pack tfds:{builder.info.full_name}@{where} OUT, and train with "
            "--config.data.source=packed --config.data.path=OUT."
        )
    _allow_open_files(builder.info.splits[name].num_shards)
    skip = _skip_decoding(builder.info)

    def open_examples() -> Any:
        return builder.as_data_source(name, decoders=skip)

    return _decoded_if_small(builder, settings, TfdsSource(builder, name, open_examples))


def open_for_packing(settings: SourceSettings, split: str) -> Source:
    """Opens a split as ``open_split`` does, and also one prepared as TFRecord.

    Raises:
      RequestError: If it is missing, or not of images and labels.
    """
    builder, name = _open_builder(settings, split)
    if "array_record" in _formats(builder) or "tfrecord" not in _formats(builder):
        return open_split(settings, split)
    skip = _skip_decoding(builder.info)
    records = TfrecordFiles(builder.info.splits[name].file_instructions)
    features = builder.info.features

    def parse(record: bytes) -> dict[str, Any]:
        return features.deserialize_example_np(record, decoders=skip)

    source = TfdsSource(builder, name, lambda: _Deserialized(records, parse))
    return _decoded_if_small(builder, settings, source)


class _Deserialized:
    """A sequence of records, each put through ``parse`` when it is asked for."""

    def __init__(self, records: Any, parse: Any):
        self._records, self._parse = records, parse

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Any:
        return self._parse(self._records[index])


def _open_builder(settings: SourceSettings, split: str) -> tuple[Any, str]:
    """Returns TFDS's builder of the prepared data set and the name of the split in it."""
    root = Path(settings.path or os.path.expanduser(DEFAULT_DIRECTORY))
    with reading(root):
        directory = _find(settings, root)
    builder = _builder(directory)
    _keys(builder.info)
    wanted = _split_name(builder.info, settings, split)
    if not _num_examples(builder.info, wanted):
        there = ", ".join(
            f"{name} ({_num_examples(builder.info, name)} examples)" for name in builder.info.splits
        )
        raise RequestError(
            f"data.{split}_split={wanted!r}: {builder.info.full_name} in {builder.info.data_dir} has the splits "
            f"{there}; name one of them, or examples of them in TFDS's notation, such as 'train[:90%]' or 'train+test'."
        )
    return builder, wanted


def _builder(directory: Path) -> Any:
    """Returns TFDS's builder of the data set prepared in ``directory``.

    Raises:
      RequestError: If TFDS makes nothing of its metadata.
    """
    import tensorflow_datasets

    try:
        return tensorflow_datasets.builder_from_directory(directory)
    except _DAMAGED as error:
        raise RequestError(
            f"{directory} is damaged: TFDS cannot read its metadata ({type(error).__name__}: {error}); copy it again, "
            f"or delete it and prepare it anew: {PREPARE} NAME ARCHIVES DIRECTORY"
        ) from error


def _split_name(info: Any, settings: SourceSettings, split: str) -> str:
    """Returns a split's name in TFDS's notation; empty where none is asked for and there is none of the usual ones."""
    if split == "train":
        return settings.train_split
    return settings.eval_split or next((name for name in EVAL_SPLITS if name in info.splits), "")


def _num_examples(info: Any, split: str) -> int:
    """Returns how many examples a split in TFDS's notation has; 0 where TFDS makes nothing of it."""
    try:
        counts = [part.take for part in info.splits[split].file_instructions]
    except (KeyError, NotImplementedError, ValueError):
        return 0
    return sum(counts) if all(count > 0 for count in counts) else 0  # of train[5:2] it makes -3


def _find(settings: SourceSettings, root: Path) -> Path:
    """Returns the directory of the prepared data set, the newest version where none is named."""
    if (root / METADATA_FILE).is_file():
        return root
    if not settings.name:
        raise RequestError(
            "data.source='tfds' needs data.name, e.g. --config.data.name=imagenet2012, or a data.path that holds "
            f"{METADATA_FILE}; got data.path={settings.path!r}."
        )
    name, _, version = settings.name.partition(":")
    found = [file.parent for file in (root / name).glob(f"**/{METADATA_FILE}")]
    found = [path for path in found if version in ("", path.name)]
    if not found:
        raise RequestError(
            f"there is no prepared data set {settings.name!r} in {root}; prepare it from the archives you downloaded "
            f"(it needs pip install -e '.[prepare]' in the checkout): {PREPARE} {name} ARCHIVES {root}"
        )
    if len({path.parent for path in found}) > 1:
        configs = sorted(str(path.parent.relative_to(root)) for path in found)
        raise RequestError(
            f"data.name={settings.name!r} has several configurations in {root}; name one: {', '.join(configs)}."
        )
    return max(
        found, key=lambda path: [int(n) if n.isdecimal() else 0 for n in path.name.split(".")]
    )


def _formats(builder: Any) -> list[str]:
    return sorted(file_format.value for file_format in builder.info.available_file_formats())


def _keys(info: Any) -> tuple[str, str]:
    """Returns the names of the image and of the label among the features."""
    keys = info.supervised_keys or ("image", "label")
    kinds = [type(info.features[key]).__name__ for key in keys if key in info.features]
    if kinds != ["Image", "ClassLabel"]:
        raise RequestError(
            f"{info.full_name} is not for image classification: {', '.join(keys)} should be an image and a class "
            "label; choose another data.name."
        )
    return keys


def _skip_decoding(info: Any) -> dict[str, Any]:
    import tensorflow_datasets

    return {_keys(info)[0]: tensorflow_datasets.decode.SkipDecoding()}


def _allow_open_files(shards: int) -> None:
    """Raises the process's soft limit: every shard stays open, and ImageNet has 1,024, a usual limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 4 * shards + 1024
    if soft != resource.RLIM_INFINITY and soft < needed:
        new = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(new, soft), hard))


def _decoded_if_small(builder: Any, settings: SourceSettings, source: TfdsSource) -> Source:
    """Returns the source, as arrays where all images are of one size and both splits take little memory.

    Both splits are looked at, for both must be of one kind: what decodes the one must suit the other.

    Raises:
      RequestError: If an image to be decoded cannot be read.
    """
    height, width, _ = builder.info.features[_keys(builder.info)[0]].shape
    if height is None or width is None:
        return source
    names = [_split_name(builder.info, settings, split) for split in SPLITS]
    examples = sum(_num_examples(builder.info, name) for name in names)
    if examples * height * width * 3 > IN_MEMORY_BYTES:
        return source
    images = np.empty((len(source), height, width, 3), np.uint8)
    labels = np.empty(len(source), np.int32)

    def load(index: int) -> None:
        try:
            example = source[index]
            images[index] = np.asarray(open_image(example["image"]))
        except UNREADABLE as error:
            raise RequestError(
                f"{source.describe(index)}, cannot be read ({error}); copy or prepare the data set again."
            ) from error
        labels[index] = example["label"]

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(load, range(len(source))):
            pass
    return ArraySource(images, labels, source.class_names)
