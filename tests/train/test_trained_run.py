"""What a run says of itself, where its files are damaged."""

import json

import pytest

from alexnet_jax.errors import RequestError
from alexnet_jax.train import trained_run

ADVICE = "; restore it, or run again."
UNCLEAR = ": its eval and data do not say how images were looked at"
EVAL = {"protocol": "center", "resize_pixels": None}
DATA = {"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}


def _config(**changes):
    return json.dumps({"eval": EVAL | changes, "data": DATA})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", " (Expecting value: line 1 column 1 (char 0))"),
        ("[" * 100_000, " ("),
        ("\xff", " ('utf-8' codec can't decode byte 0xff in position 0"),
        ("[]", ": it holds no JSON object"),
        ('{"eval": 5}', ": it has no eval.resize_pixels and no eval.protocol and no data.mean and"),
        (_config(protocol=[]), UNCLEAR),
        (_config(protocol="left"), UNCLEAR),
        (_config(resize_pixels="x"), UNCLEAR),
        (_config().replace("0.5", "null"), UNCLEAR),
        (_config().replace("1, 1", "1"), UNCLEAR),
    ],
)
def test_damaged_settings_are_named(tmp_path, content, message):
    file = tmp_path / "config.json"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(RequestError) as raised:
        trained_run.look(tmp_path, 32)
    assert str(raised.value).startswith(f"{file} is damaged{message}")
    assert str(raised.value).endswith(ADVICE)


@pytest.mark.parametrize("content", ["", "[", '{"a": 1}', "[1]", '"abc"'])
def test_damaged_names_of_classes_are_named(tmp_path, content):
    file = tmp_path / "classes.json"
    file.write_text(content)
    with pytest.raises(RequestError) as raised:
        trained_run.class_names(tmp_path)
    assert str(raised.value).startswith(f"{file} is damaged")
    assert str(raised.value).endswith(ADVICE)
