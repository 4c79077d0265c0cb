import io
import threading

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.data import decode, pipeline
from alexnet_jax.data.order import EvalOrder, TrainOrder
from alexnet_jax.data.sources.base import ArraySource


def _arrays(n: int = 50) -> ArraySource:
    images = np.zeros((n, 4, 4, 3), np.uint8)
    images[:] = np.arange(n)[:, None, None, None]
    return ArraySource(images, np.arange(n, dtype=np.int32) % 10, tuple("0123456789"))


class _Encoded:
    """The same images as PNG files."""

    def __init__(self, n: int = 50):
        self.n = n
        self.num_classes, self.class_names = 10, tuple("0123456789")

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        buffer = io.BytesIO()
        Image.fromarray(np.full((40, 40, 3), index, np.uint8)).save(buffer, "PNG")
        return {"image": buffer.getvalue(), "label": index % 10}

    def fingerprint(self):
        return ""


def _value(encoded):
    """Returns the number that an image of ``_Encoded`` is filled with."""
    return int(np.asarray(Image.open(io.BytesIO(encoded)))[0, 0, 0])


def _iterate(source, order, **changes):
    arguments = {
        "start_step": 0,
        "stop_step": 12,
        "rows": slice(0, order.batch_size),
        "decoder": None,
        "seed": 0,
        "num_threads": 2,
    }
    return list(pipeline.iterate(source, order, **arguments | changes))


def test_batches_hold_what_the_order_says():
    order = TrainOrder(50, 8, seed=0)
    batches = _iterate(_arrays(), order)
    assert len(batches) == 12
    for step, batch in enumerate(batches):
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], order.indices(step))
        np.testing.assert_array_equal(batch["label"], order.indices(step) % 10)
        np.testing.assert_array_equal(batch["row"], np.arange(8))
        assert batch["mask"].all()


def test_starting_later_continues_the_same_batches():
    order = TrainOrder(50, 8, seed=0)
    whole, rest = _iterate(_arrays(), order), _iterate(_arrays(), order, start_step=7)
    for one, other in zip(whole[7:], rest, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])


def test_processes_share_a_batch_by_rows():
    order = TrainOrder(50, 8, seed=0)
    whole = _iterate(_arrays(), order)
    parts = [_iterate(_arrays(), order, rows=slice(start, start + 2)) for start in (0, 2, 4, 6)]
    for step, batch in enumerate(whole):
        for name in batch:
            joined = np.concatenate([part[step][name] for part in parts])
            np.testing.assert_array_equal(joined, batch[name])


def test_padding_is_masked():
    batches = _iterate(_arrays(50), EvalOrder(50, 16), stop_step=4)
    masks = np.concatenate([batch["mask"] for batch in batches])
    images = np.concatenate([batch["image"] for batch in batches])
    np.testing.assert_array_equal(masks, np.arange(64) < 50)
    np.testing.assert_array_equal(images[masks][:, 0, 0, 0], np.arange(50))


class _Counting(_Encoded):
    """Notes which examples are read."""

    def __init__(self, n: int):
        super().__init__(n)
        self.read: list[int] = []

    def __getitem__(self, index):
        self.read.append(index)
        return super().__getitem__(index)


def test_padding_is_not_read():
    source = _Counting(10)
    (batch,) = _iterate(source, EvalOrder(10, 64), decoder=decode.center(40, 32), stop_step=1)
    assert sorted(source.read) == list(range(10))
    np.testing.assert_array_equal(batch["image"][:10, 0, 0, 0], np.arange(10))
    np.testing.assert_array_equal(batch["label"][:10], np.arange(10))
    assert batch["image"].shape == (64, 32, 32, 3)
    assert not batch["image"][10:].any()
    assert not batch["label"][10:].any()
    np.testing.assert_array_equal(batch["mask"], np.arange(64) < 10)


def test_a_process_with_padding_alone_reads_one_image_for_its_shape():
    source, order = _Counting(10), EvalOrder(10, 64)
    changes = {"decoder": decode.center(40, 32), "stop_step": 1, "rows": slice(32, 64)}
    (batch,) = _iterate(source, order, **changes)
    assert source.read == [0]
    assert batch["image"].shape == (32, 32, 32, 3)
    assert not batch["image"].any()
    assert not batch["mask"].any()


def test_encoded_images_are_decoded():
    order = TrainOrder(50, 8, seed=0)
    batches = _iterate(_Encoded(), order, decoder=decode.center(40, 32))
    for step, batch in enumerate(batches):
        assert batch["image"].shape == (8, 32, 32, 3)
        np.testing.assert_array_equal(batch["image"][:, 16, 16, 1], order.indices(step))


def test_random_crops_are_addressed_by_step_and_row():
    """The same crop whatever the step the run starts at and the rows the process loads; another by seed."""

    def draws(**changes):
        def decoder(encoded, generator):
            return np.array([_value(encoded), generator.random()])

        order, drawn = TrainOrder(50, 50, seed=0), {}
        for batch in _iterate(_Encoded(), order, decoder=decoder, stop_step=2, **changes):
            for value, draw in batch["image"].tolist():
                drawn[value] = (*drawn.get(value, ()), draw)
        return drawn

    whole = draws()
    assert len({draw for pair in whole.values() for draw in pair}) == 100
    second = draws(start_step=1)
    part = draws(start_step=1, rows=slice(10, 30))
    assert {value: pair[-1:] for value, pair in whole.items()} == second
    assert part.items() <= second.items()
    assert draws(seed=1) != whole


def test_crops_draw_other_numbers_than_the_order_of_the_examples():
    drawn = []

    def decoder(encoded, generator):
        drawn.append(generator.bit_generator.random_raw(8).tolist())
        return np.zeros((4, 4, 3), np.uint8)

    _iterate(_Encoded(), TrainOrder(50, 5, seed=7), decoder=decoder, seed=7)
    orders = [np.random.Philox(key=[7, epoch]).random_raw(8).tolist() for epoch in range(50)]
    assert len(drawn) >= 5
    assert not any(numbers in orders for numbers in drawn)


def test_threads_start_on_the_next_batch_while_the_last_image_of_one_is_decoded():
    order, started = TrainOrder(50, 4, seed=0), threading.Event()
    held, awaited = order.indices(0)[-1], order.indices(1)[0]

    def decoder(encoded, generator):
        if _value(encoded) == awaited:
            started.set()
        if _value(encoded) == held:
            assert started.wait(20), "the thread waits for the other one"
        return np.array([_value(encoded)])

    batches = _iterate(_Encoded(), order, decoder=decoder, stop_step=2)
    for step, batch in enumerate(batches):
        np.testing.assert_array_equal(batch["image"][:, 0], order.indices(step))


def test_an_error_in_a_source_reaches_the_consumer():
    class Failing(_Encoded):
        def __getitem__(self, index):
            raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        _iterate(Failing(), TrainOrder(50, 8, seed=0), decoder=decode.center(40, 32))


def test_leaving_early_stops_the_decoding_threads():
    order = TrainOrder(50, 8, seed=0)
    iterator = pipeline.iterate(
        _Encoded(),
        order,
        start_step=0,
        stop_step=1000,
        rows=slice(0, 8),
        decoder=decode.center(40, 32),
        seed=0,
        num_threads=2,
    )
    next(iterator)
    iterator.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("alexnet-decode")]
