"""What names on the command line mean."""

import errno

import pytest

from alexnet_jax.data.image_files import expand
from alexnet_jax.errors import RequestError


def test_a_name_that_cannot_be_looked_at_is_a_file():
    """Reading it says what is wrong, and the other files go on."""
    assert list(expand(["x" * 300, "a.png"], ())) == ["x" * 300, "a.png"]


def test_a_directory_that_cannot_be_looked_into_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.png").touch()
    assert list(expand([str(tmp_path)], ())) == [str(tmp_path / "a.png")]

    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.is_file", refused)
    with pytest.raises(RequestError) as raised:
        list(expand([str(tmp_path)], ()))
    assert str(raised.value) == (
        f"{tmp_path} cannot be read (Permission denied); make it readable, or name another."
    )
