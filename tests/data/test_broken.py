"""A broken image is named once, counted and replaced; too many stop the run."""

import json
import logging

import jax
import numpy as np
import pytest

from alexnet_jax import config as configuration
from alexnet_jax.data import decode, pipeline
from alexnet_jax.data.broken import BrokenImages
from alexnet_jax.data.order import EvalOrder
from alexnet_jax.errors import RequestError
from alexnet_jax.train import experiment, loop
from tests.data.folders import open_folder, write_folder


def _epoch(source, broken, num_threads: int = 2):
    order = EvalOrder(len(source), 4)
    batches = pipeline.iterate(
        source,
        order,
        start_step=0,
        stop_step=order.steps_per_epoch,
        rows=slice(0, 4),
        decoder=decode.center(32, 32),
        seed=0,
        num_threads=num_threads,
        broken=broken,
    )
    return [(batch["image"], batch["label"]) for batch in batches]


def test_the_next_readable_image_takes_its_place(tmp_path, caplog):
    write_folder(tmp_path, broken=(2, 3, 9))
    source = open_folder(tmp_path)
    broken = BrokenImages("train", len(source), 0.5)
    with caplog.at_level(logging.WARNING):
        epochs = [_epoch(source, broken), _epoch(source, broken)]
    assert broken.count == 3
    assert len(caplog.records) == 3  # once each, over two epochs
    for number in (2, 3, 9):
        assert sum(f"train{number:03}.JPEG" in message for message in caplog.messages) == 1
    images, labels = (np.concatenate(parts) for parts in zip(*epochs[0], strict=True))
    for place, instead in [(2, 4), (3, 4), (9, 0)]:
        np.testing.assert_array_equal(images[place], images[instead])
        assert labels[place] == labels[instead]
    for one, other in zip(*epochs, strict=True):
        np.testing.assert_array_equal(one[0], other[0])


def test_too_many_stop_the_run_with_the_list(tmp_path):
    write_folder(tmp_path, broken=(2, 3, 9))
    source = open_folder(tmp_path)
    with pytest.raises(RequestError) as caught:
        _epoch(source, BrokenImages("train", len(source), 0.2), num_threads=1)
    text = str(caught.value)
    assert "3 of the 10 train images cannot be read" in text
    assert "data.max_broken_fraction=0.2 allows; mend or remove them, or raise it:" in text
    assert all(f"train{number:03}.JPEG (" in text for number in (2, 3, 9))


def test_nothing_readable_is_an_error_too(tmp_path):
    write_folder(tmp_path, broken=tuple(range(10)))
    source = open_folder(tmp_path)
    with pytest.raises(RequestError, match="10 of the 10 train images cannot be read"):
        _epoch(source, BrokenImages("train", len(source), 1.0))


def test_what_the_processes_of_a_job_find_is_one_list(caplog):
    own = BrokenImages("train", 10, 0.2)
    own.first_readable([], 3, _but(3))
    own.learn({3: "example 3", 8: "example 8"})
    assert (own.count, own.found()) == (2, [3, 8])
    assert len(caplog.records) == 1  # the other process has told of the other
    assert own.first_readable([], 8, _but()) == 9  # not tried again
    with pytest.raises(RequestError) as caught:
        own.learn({3: "example 3", 5: "example 5", 8: "example 8"})
    text = str(caught.value)
    assert "3 of the 10 train images cannot be read" in text
    assert "  example 3 (broken)\n  example 5\n  example 8" in text


def _but(*places: int):
    def load(index: int) -> int:
        if index in places:
            raise ValueError("broken")
        return index

    return load


def test_a_run_counts_them(tmp_path):
    write_folder(tmp_path, broken=(2,))
    config = configuration.default_config()
    config.model.variant, config.model.num_classes = "cifar32", 2
    config.data.path = str(tmp_path)
    config.data.max_broken_fraction = 0.1
    config.batch_size, config.num_epochs, config.log_every_steps = 5, 1, 1
    assert configuration.validate(config) == []
    sources = experiment.open_sources(config)
    run = experiment.build(config, sources, jax.devices("cpu")[:1])
    loop.train(run, tmp_path / "run")
    records = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    last = {record["split"]: record for record in records}
    assert last["train"]["broken_images"] == 1
    assert last["eval"]["broken_images"] == 0
    assert last["eval"]["num_examples"] == 10
    card = json.loads((tmp_path / "run" / "run.json").read_text())
    assert card["broken_images"] == {"train": 1, "eval": 0}


def test_the_share_is_checked():
    config = configuration.default_config()
    config.data.max_broken_fraction = 1.5
    texts = [fault.text for fault in configuration.validate(config)]
    assert texts == ["data.max_broken_fraction=1.5 is not possible; use a number in [0, 1]."]
