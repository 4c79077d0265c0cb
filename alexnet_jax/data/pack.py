"""Decodes a data set once, into files that ``sources/packed.py`` maps into memory.

The size policy: every image becomes a square of ``size`` pixels, so that a batch is one array. Training images have
both sides resized to ``size``, nothing is cut off, and their original height and width are kept beside them: the random
crop on the device draws its boxes on the original shape, so areas and aspect ratios are distributed as if the original
were cropped. Evaluation images are stored twice, as the "center" protocol (shorter side to ``size``, middle square) and
as "squash" (both sides to ``size``) see them. Sources of arrays are stored as they are.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.data import decode
from alexnet_jax.data.broken import BrokenImages, describe
from alexnet_jax.data.checks import find_problems
from alexnet_jax.data.sources.base import InMemory, Source
from alexnet_jax.data.sources.packed import (
    DAMAGED,
    FORMAT,
    MANIFEST_FILE,
    files,
    read_manifest,
    refuse_damaged,
)
from alexnet_jax.errors import RequestError, reading, writing

PLAN_FILE = "plan.json"  # what is being packed; there while it is
POLICY = (
    "train: both sides resized to size, original shapes kept for the crop; eval_center: shorter side to size, middle "
    "square; eval_squash: both sides to size; arrays: as they are"
)
CHUNK = 64  # images decoded before they are written
SPARE_BYTES = 2**28  # to leave free on the disk

Pixels = tuple[np.ndarray, tuple[int, int]]  # an image, and the height and width it had
Loader = Callable[[Any], Pixels]
Shard = tuple[str, str, int, int]  # its view, file without ending, first example, one past its last


@dataclasses.dataclass(frozen=True)
class Request:
    """What to pack.

    Attributes:
      name: Of the source, as it was asked for.
      sources: By split.
      size: Height and width of the packed images, in pixels.
      shard_bytes: Size of a file, at most (but at least one image).
      max_broken_fraction: More unreadable images than this stop it.
      num_threads: Decoding.
    """

    name: str
    sources: dict[str, Source]
    size: int
    shard_bytes: int
    max_broken_fraction: float
    num_threads: int


def pack(request: Request, out: Path, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Packs both splits into ``out``, going on where an interrupted call stopped.

    Args:
      request: What to pack.
      out: A directory; created.
      progress: Called with (images done, images in all).

    Returns:
      The manifest.

    Raises:
      RequestError: If a run on these data would be refused, ``out`` holds something else or cannot be written, the
        disk is too small, or a label is out of range.
    """
    if problems := find_problems(request.sources):
        raise RequestError("\n".join(problems))
    plan = _plan(request)
    with writing(out):  # images that cannot be read are counted, and raise no OSError
        return _pack(request, plan, out, progress)


def _pack(
    request: Request, plan: dict[str, Any], out: Path, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    _open_directory(out, plan)
    shards = list(_shards(plan))
    total = sum(stop - start for _, _, start, stop in shards)
    missing = [shard for shard in shards if not _is_packed(out, plan, shard)]
    _check_space(out, plan, missing)
    _write_json(out / PLAN_FILE, plan)
    done = total - sum(stop - start for _, _, start, stop in missing)
    progress(done, total)
    broken = {
        split: BrokenImages(split, len(source), request.max_broken_fraction)
        for split, source in request.sources.items()
    }
    with concurrent.futures.ThreadPoolExecutor(request.num_threads) as pool:
        for view, file, start, stop in missing:
            split = plan["views"][view]["split"]
            load = _loader(view, request)
            rows = _load_rows(request.sources[split], broken[split], load, range(start, stop), pool)

            def counted(rows: Iterator[Any] = rows) -> Iterator[Any]:
                nonlocal done
                for row in rows:
                    yield row
                    done += 1
                    progress(done, total)

            _write_shard(out / file, counted())
    manifest = _manifest(out, plan)
    _write_json(out / MANIFEST_FILE, manifest)
    _tidy(out, manifest)
    return manifest


def verify(out: Path, manifest: dict[str, Any]) -> list[str]:
    """Returns a line for each file that cannot be read, or whose size or checksum is not the manifest's.

    Raises:
      RequestError: If the manifest is damaged.
    """
    with refuse_damaged(out / MANIFEST_FILE):
        said = {name: (file["bytes"], file["sha256"]) for name, file in files(manifest).items()}
    lines = (_difference(out / name, size, checksum) for name, (size, checksum) in said.items())
    return [line for line in lines if line]


def _difference(path: Path, size: int, checksum: str) -> str:
    """Returns what is wrong with a file; empty where nothing is."""
    try:
        with reading(path):
            if not path.is_file():
                return f"{path} is missing"
            if (there := path.stat().st_size) != size:
                return f"{path} has {there} bytes, not {size}"
            if _sha256(path) != checksum:
                return f"{path} has another checksum than when it was packed"
    except RequestError as error:  # the other files are still to be looked at
        return str(error)
    return ""


def _plan(request: Request) -> dict[str, Any]:
    """Returns everything that decides the bytes to be written."""
    train = request.sources["train"]
    views = {}
    for split, source in request.sources.items():
        if isinstance(source, InMemory):
            names, shape = [split], list(np.shape(source[0]["image"]))
        else:
            names = ["train"] if split == "train" else ["eval_center", "eval_squash"]
            shape = [request.size, request.size, 3]
        for name in names:
            views[name] = {
                "split": split,
                "examples": len(source),
                "image_shape": shape,
                "reshaped": split == "train" and not isinstance(source, InMemory),
                "shard_examples": max(1, request.shard_bytes // math.prod(shape)),
            }
    return {
        "format": FORMAT,
        "source": request.name,
        "fingerprints": {name: source.fingerprint() for name, source in request.sources.items()},
        "class_names": list(train.class_names),
        "size": request.size,
        "policy": POLICY,
        "views": views,
    }


def _open_directory(out: Path, plan: dict[str, Any]) -> None:
    """Makes the directory, or checks that it holds a part of just this plan."""
    if (out / MANIFEST_FILE).is_file():
        _tidy(out, read_manifest(out))
        raise RequestError(
            f"{out} holds a packed data set already; it is not overwritten. Remove it or choose another directory; "
            f"to check it: python -m alexnet_jax pack --verify {out}"
        )
    if out.exists() and (
        not out.is_dir() or (any(out.iterdir()) and not (out / PLAN_FILE).is_file())
    ):
        raise RequestError(f"{out} exists and is no packed data set; choose another directory.")
    out.mkdir(parents=True, exist_ok=True)
    if (out / PLAN_FILE).is_file():
        with refuse_damaged(out / PLAN_FILE):
            before = json.loads((out / PLAN_FILE).read_text())
            # The source may be named otherwise, or have moved; its fingerprints tell whether it is the same.
            decisive = plan.keys() - {"source"}
            differences = sorted(key for key in decisive if before[key] != plan[key])
        if differences:
            raise RequestError(
                f"{out} holds a part of another packing ({', '.join(differences)} differ); ask for the same again to "
                "finish it, or remove it, or choose another directory."
            )


def _shards(plan: dict[str, Any]) -> Iterator[Shard]:
    for name, view in plan["views"].items():
        for number, start in enumerate(range(0, view["examples"], view["shard_examples"])):
            stop = min(start + view["shard_examples"], view["examples"])
            yield name, f"{name}-{number:05}", start, stop


def _is_packed(out: Path, plan: dict[str, Any], shard: Shard) -> bool:
    """Returns whether a shard is there: its record, written last, is whole, and its file as long as it must be."""
    view, file, start, stop = shard
    count = stop - start
    with contextlib.suppress(*DAMAGED):
        record = json.loads((out / f"{file}.json").read_text())
        size = (out / f"{file}.bin").stat().st_size
        return (
            np.array(record["labels"], np.int32).shape == (count,)
            and np.array(record["shapes"], np.int32).shape == (count, 2)
            and 0 <= record["replaced"] <= count
            and len(record["sha256"]) == hashlib.sha256().digest_size * 2
            and size == count * math.prod(plan["views"][view]["image_shape"])
        )
    return False


def _check_space(out: Path, plan: dict[str, Any], missing: list[Shard]) -> None:
    sizes = {name: math.prod(view["image_shape"]) for name, view in plan["views"].items()}
    needed = sum((stop - start) * sizes[view] for view, _, start, stop in missing)
    free = shutil.disk_usage(out).free
    if needed + SPARE_BYTES > free:
        raise RequestError(
            f"{out} needs {needed / 1e9:.1f} GB more and the disk has {free / 1e9:.1f} GB free; make room, choose "
            "another directory, or a smaller --size."
        )


def _loader(view: str, request: Request) -> Loader:
    if isinstance(request.sources["train"], InMemory):
        return lambda image: (image, image.shape[:2])
    protocol = "center" if view == "eval_center" else "squash"
    view_of = decode.PROTOCOLS[protocol](request.size, request.size)
    unused = np.random.default_rng(0)
    return lambda encoded: (view_of(encoded, unused), decode.image_shape(encoded))


def _load_rows(
    source: Source,
    broken: BrokenImages,
    load: Loader,
    indices: range,
    pool: concurrent.futures.ThreadPoolExecutor,
) -> Iterator[tuple[Pixels, int, bool]]:
    """Yields (pixels and shape, label, whether the image is the example's own) in order, decoded a chunk ahead.

    Raises:
      RequestError: If a label is out of range.
    """

    def load_row(index: int) -> tuple[Pixels, int, bool]:
        def load_place(place: int) -> tuple[Pixels, int, int]:
            example = source[place]
            return load(example["image"]), example["label"], place

        pixels, label, place = broken.first_readable(source, index, load_place)
        if not 0 <= label < source.num_classes:
            raise RequestError(
                f"{describe(source, place)}, has the label {label}, which is not in 0 to {source.num_classes - 1}; "
                "mend it and pack again."
            )
        return pixels, label, place == index

    ahead: list[Any] = []
    for start in range(0, len(indices), CHUNK):
        ahead.append(pool.map(load_row, indices[start : start + CHUNK]))  # starts at once
        if len(ahead) > 1:
            yield from ahead.pop(0)
    for rows in ahead:
        yield from rows


def _write_shard(path: Path, rows: Iterator[tuple[Pixels, int, bool]]) -> None:
    """Writes PATH.bin and, when it is complete, PATH.json with the labels, shapes and checksum."""
    labels, shapes, replaced = [], [], 0
    checksum = hashlib.sha256()
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        for (pixels, shape), label, own in rows:
            data = np.ascontiguousarray(pixels).data
            file.write(data)
            checksum.update(data)
            labels.append(int(label))
            shapes.append([int(n) for n in shape])
            replaced += not own
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path.with_suffix(".bin"))
    record = {
        "labels": labels,
        "shapes": shapes,
        "replaced": replaced,
        "sha256": checksum.hexdigest(),
    }
    _write_json(path.with_suffix(".json"), record)


def _manifest(out: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Writes each view's labels and shapes, and returns the plan with every file's size and checksum."""
    views: dict[str, Any] = {}
    records = {
        file: json.loads((out / f"{file}.json").read_text()) for _, file, _, _ in _shards(plan)
    }
    for name, view in plan["views"].items():
        own = [shard for shard in _shards(plan) if shard[0] == name]
        labels = np.concatenate(
            [np.array(records[file]["labels"], np.int32) for _, file, *_ in own]
        )
        shapes = np.concatenate(
            [np.array(records[file]["shapes"], np.int32) for _, file, *_ in own]
        )
        views[name] = {
            **view,
            "replaced": sum(records[file]["replaced"] for _, file, *_ in own),
            "shards": [
                {
                    "file": f"{file}.bin",
                    "examples": stop - start,
                    "bytes": (out / f"{file}.bin").stat().st_size,
                    "sha256": records[file]["sha256"],
                }
                for _, file, start, stop in own
            ],
            "labels": _write_array(out / f"{name}-labels.npy", labels),
            "shapes": _write_array(out / f"{name}-shapes.npy", shapes)
            if view["reshaped"]
            else None,
        }
    return {**plan, "views": views}


def _write_array(path: Path, array: np.ndarray) -> dict[str, Any]:
    buffer = io.BytesIO()
    np.save(buffer, array)
    path.write_bytes(buffer.getvalue())
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)}


def _tidy(out: Path, manifest: dict[str, Any]) -> None:
    """Removes what was only needed to go on after an interruption."""
    with refuse_damaged(out / MANIFEST_FILE):
        names = [name for name in files(manifest) if name.endswith(".bin")]
    for name in names:
        (out / name).with_suffix(".json").unlink(missing_ok=True)
    (out / PLAN_FILE).unlink(missing_ok=True)


def _write_json(path: Path, value: Any) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w") as file:
        file.write(json.dumps(value, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
