"""Writes small TFDS data sets by hand, without TensorFlow."""

import json
import struct
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordWriter


def write_dataset(
    root: Path,
    splits: dict[str, list[tuple[bytes, int]]],
    *,
    name: str = "photos",
    class_names: tuple[str, ...] = ("a", "b"),
    shape: tuple[int | None, int | None, int] = (None, None, 3),
    file_format: str = "array_record",
    shards: int = 2,
) -> Path:
    """Writes ``root/name/1.0.0`` with the metadata TFDS writes and returns it."""
    import tensorflow_datasets as tfds

    directory = root / name / "1.0.0"
    directory.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=shape),
            "label": tfds.features.ClassLabel(names=list(class_names)),
            "file_name": tfds.features.Text(),
        }
    )
    features.save_config(directory)
    records = []
    for split, examples in splits.items():
        lengths = []
        for shard in range(shards):
            part = list(enumerate(examples))[shard::shards]
            lengths.append(len(part))
            file = directory / f"{name}-{split}.{file_format}-{shard:05}-of-{shards:05}"
            _write(file, [_example(i, *example) for i, example in part], file_format)
        records.append(_split(split, lengths))
    info = {
        "name": name,
        "version": "1.0.0",
        "fileFormat": file_format,
        "moduleName": "tests",
        "splits": records,
    }
    (directory / "dataset_info.json").write_text(json.dumps(info))
    return directory


def _split(name: str, lengths: list[int]) -> dict:
    return {
        "name": name,
        "shardLengths": [str(length) for length in lengths],
        "numBytes": "1",
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    }


def _example(number: int, image: bytes, label: int) -> bytes:
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example()
    feature = example.features.feature
    feature["image"].bytes_list.value.append(image)
    feature["label"].int64_list.value.append(label)
    feature["file_name"].bytes_list.value.append(b"photo%d.jpg" % number)
    return example.SerializeToString()


def _write(file: Path, records: list[bytes], file_format: str) -> None:
    if file_format == "tfrecord":
        framed = [struct.pack("<Q", len(r)) + b"\0" * 4 + r + b"\0" * 4 for r in records]
        file.write_bytes(b"".join(framed))
        return
    writer = ArrayRecordWriter(str(file), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
