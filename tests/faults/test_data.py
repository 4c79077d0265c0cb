"""Files that vanish and mounts that fail while a run reads them."""

import errno

import pytest

from alexnet_jax.data import broken
from alexnet_jax.data.broken import BrokenImages
from alexnet_jax.errors import RequestError


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(broken, "RETRY_SECONDS", (0.0, 0.0, 0.0))


def _failing(times: int, code: int):
    """Loads, after as many failures of example 3."""
    left = [times]

    def load(index: int) -> int:
        if index == 3 and left[0]:
            left[0] -= 1
            raise OSError(code, "failed")
        return index

    return load


@pytest.mark.parametrize("times", [1, 3])
def test_a_read_that_fails_for_a_moment_is_tried_again(times):
    images = BrokenImages("train", 10, 0.0)
    assert images.first_readable([], 3, _failing(times, errno.EIO)) == 3
    assert (images.count, images.retries) == (0, times)


def test_a_read_that_goes_on_failing_is_a_broken_image():
    images = BrokenImages("train", 10, 0.5)
    assert images.first_readable([], 3, _failing(100, errno.ESTALE)) == 4
    assert (images.count, images.retries) == (1, 3)


def test_a_vanished_file_is_replaced_at_once_and_too_many_end_the_run(caplog):
    images = BrokenImages("train", 10, 0.5)
    assert images.first_readable([], 3, _failing(100, errno.ENOENT)) == 4
    assert images.retries == 0
    assert "broken image, replaced by the next readable one: example 3" in caplog.text
    strict = BrokenImages("train", 10, 0.05)
    with pytest.raises(RequestError, match="1 of the 10 train images cannot be read, more than"):
        strict.first_readable([], 3, _failing(100, errno.ENOENT))
