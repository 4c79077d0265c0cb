import json

import pytest

from alexnet_jax import __main__
from alexnet_jax.errors import RequestError
from alexnet_jax.report.records import read_records, read_run, read_runs
from alexnet_jax.train import rollback
from alexnet_jax.train.writers import read_metrics

GOOD = '{"step": 1, "epoch": 0.5, "split": "train", "loss": 2.0}\n'


def test_a_last_line_cut_short_is_left_out_silently(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(GOOD + GOOD[:20])
    records, damaged = read_records(tmp_path / "metrics.jsonl")
    assert records == [json.loads(GOOD)]
    assert damaged == []


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\x00\x00\x00\n",
        b"\xff\xfe{}\n",
        b"[1, 2]\n",
        b'{"step": 1}\n',
        b'{"step": "1", "epoch": 0.5, "split": "train"}\n',
        GOOD[:20].encode() + GOOD.encode(),
    ],
)
def test_damaged_lines_are_counted_and_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_bytes(GOOD.encode() + line + GOOD.encode())
    records, damaged = read_records(tmp_path / "metrics.jsonl")
    assert len(records) == 2
    assert damaged == [2]


def test_what_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.mkdir()
    readers = (
        lambda: read_records(path),
        lambda: read_metrics(tmp_path),
        lambda: rollback.count(tmp_path, 0),
    )
    for read in readers:
        with pytest.raises(RequestError) as raised:
            read()
        assert str(raised.value) == (
            f"{path} cannot be read (Is a directory); make it readable, or name another."
        )


def test_no_number_is_no_point(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text(GOOD + GOOD.replace("2.0", "NaN"))
    assert read_run(tmp_path).series("train", "loss") == ([0.5], [2.0])


def test_runs_of_one_name_are_told_apart(tmp_path):
    for parent in ("a", "b"):
        (tmp_path / parent / "run").mkdir(parents=True)
        (tmp_path / parent / "run" / "config.json").write_text("{}")
    runs = read_runs([tmp_path / "a" / "run", tmp_path / "b" / "run"])
    assert [run.name for run in runs] == [str(tmp_path / "a" / "run"), str(tmp_path / "b" / "run")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, "", "is no run: it has no config.json; name a directory that a run wrote to"),
        ("config.json", "{", "config.json is damaged"),
        ("config.json", "[]", "config.json is damaged: it holds no JSON object"),
        ("config.json", "{}", "config.json is damaged: it has no model.variant and no model.num"),
        ("config.json", '{"model": 5}', "config.json is damaged: it has no model.variant and no"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, capsys, name, content, message):
    if name:
        (tmp_path / name).write_text(content)
    assert __main__.main(["report", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"nowhere is no run: it does not exist; name a"):
        read_run(tmp_path / "nowhere")
