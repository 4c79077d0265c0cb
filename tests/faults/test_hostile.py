"""Mutated inputs to what reads files and command lines: an answer or one plain message, nothing else."""

import contextlib
import json
import random
import time

import numpy as np
import pytest

from alexnet_jax import config as configuration
from alexnet_jax.__main__ import main
from alexnet_jax.data import decode
from alexnet_jax.data.sources import cifar10, packed
from alexnet_jax.errors import RequestError
from alexnet_jax.report.records import read_records
from alexnet_jax.train.writers import read_metrics
from tests.data.archives import cifar10_records
from tests.data.folders import source_settings, write_folder
from tests.data.photos import encode, odd_images, photo
from tests.faults import harness

TIMES = harness.count(60, 1000)
SECONDS = 5  # of one input: more is a hang
# Text that parsers stumble over.
TOKENS = [
    *(b"NaN", b"-1", b"1e999", b"9" * 400, b"9" * 5000, b"[" * 3000, b"(" * 300, b"{", b"\x00"),
    *(b"null", b"true", b'""', b"..", b"/etc/passwd", b"../../x", b"\xff\xfe", b"{}", b"\n"),
]


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Changes a byte or a bit, cuts, repeats and inserts, a few times."""
    for _ in range(draw.randint(1, 4)):
        place, end = sorted((draw.randint(0, len(data)), draw.randint(0, len(data))))
        here, token = data[place : place + 1] or b"0", draw.choice(TOKENS)
        head, middle, rest, tail = data[:place], data[place:end], data[place + 1 :], data[end:]
        data = draw.choice(
            [
                head + bytes([draw.randrange(256)]) + rest,
                head + bytes([here[0] ^ 1 << draw.randrange(8)]) + rest,
                head,
                head + tail,
                head + middle + middle + tail,
                head + token + middle + tail,
                head + token + tail,
            ]
        )
    return data


@contextlib.contextmanager
def answers(*errors: type[Exception]):
    """Allows one of the errors, within time."""
    begin = time.monotonic()
    with contextlib.suppress(*errors):
        yield
    assert time.monotonic() - begin < SECONDS


@pytest.fixture(autouse=True)
def _no_file_elsewhere(tmp_path, monkeypatch):
    """Runs in an empty directory, and fails if anything was written into it."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield
    assert not list(here.iterdir())


def test_config_overrides():
    draw = harness.draw("config")
    assignments = [
        *("optimizer.learning_rate=0.1", "data.mean=(0.4, 0.4, 0.4)", "model.variant=cifar32"),
        *("backend_options.x=[1, {'a': 2}]", "checkpoint.keep_best=true", "num_epochs=3"),
        "optimizer.freeze=conv1,conv2",
    ]
    for _ in range(TIMES):
        text = mutate(draw.choice(assignments).encode(), draw).decode(errors="replace")
        key, _, value = text.partition("=")
        config = configuration.default_config()
        with answers():
            faults = configuration.override(config, [(key, value)])
            faults += configuration.validate(config)
        assert all(isinstance(fault.text, str) and fault.text for fault in faults)


def test_images():
    draw = harness.draw("images")
    originals = [*odd_images().values(), encode(photo(0)), encode(photo(1), "PNG")]
    load = decode.center(40, 32)
    for _ in range(TIMES):
        encoded = mutate(draw.choice(originals), draw)
        with answers(*decode.UNREADABLE):
            assert load(encoded, None).shape == (32, 32, 3)


def test_cifar10_files(tmp_path):
    draw = harness.draw("cifar10")
    file, original = tmp_path / "test_batch.bin", cifar10_records()[-20:].tobytes()
    for _ in range(TIMES):
        file.write_bytes(mutate(original, draw))
        with answers(RequestError):
            cifar10.open_split(source_settings(tmp_path), "eval")


def test_packed_manifests(tmp_path):
    write_folder(tmp_path / "photos", per_class=2)
    out = tmp_path / "packed"
    assert main(["pack", f"folder:{tmp_path / 'photos'}", str(out), "--size", "40"]) == 0
    draw = harness.draw("packed")
    file = out / packed.MANIFEST_FILE
    original = file.read_bytes()
    for _ in range(TIMES):
        file.write_bytes(mutate(original, draw))
        with answers(RequestError):
            source = packed.open_split(source_settings(out), draw.choice(["train", "eval"]))
            source.gather(np.arange(len(source)))


def test_metrics(tmp_path):
    draw = harness.draw("metrics")
    lines = [
        {"step": 5, "epoch": 1.0, "split": "train", "loss": 2.3, "top1": 0.1},
        {"step": 5, "epoch": 1.0, "split": "eval", "loss": 2.3, "num_examples": 24},
    ]
    original = "".join(json.dumps(line) + "\n" for line in lines * 3).encode()
    for _ in range(TIMES):
        (tmp_path / "metrics.jsonl").write_bytes(mutate(original, draw))
        with answers():
            records = read_metrics(tmp_path)
            read_records(tmp_path / "metrics.jsonl")
        assert all(isinstance(record["step"], int) for record in records)
