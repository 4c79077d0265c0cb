import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from alexnet_jax.config import default_config
from alexnet_jax.train import loop
from alexnet_jax.train.console import RunConsole, eval_line, print_results
from alexnet_jax.train.metrics import Averages
from tests.train.runs import build, small_config

ROOT = Path(__file__).parents[2]


def test_eval_line_is_the_contract_s():
    line = eval_line(120, Averages(loss=0.12345, top1=0.98, top5=1.0, num_examples=10000))
    assert line == "eval step=120 loss=0.1235 top1=0.9800 top5=1.0000 n=10000"


RECORD = {
    "step": 5,
    "epoch": 0.5,
    "loss": 2.0,
    "top1": 0.25,
    "learning_rate": 0.01,
    "images_per_second": 1234.5,
    "input_wait_fraction": 0.126,
}


def test_plain_lines_where_there_is_no_terminal(capsys):
    with RunConsole(10, 0) as console:
        console.step(5, 0.5)
        console.train(RECORD)
        console.say("[not markup] " + "long " * 40)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "train step=5 epoch=0.50 loss=2.0000 top1=0.2500 images/s=1234 input_wait=13% "
        "learning_rate=0.01"
    )
    assert lines[1].startswith("[not markup] long")
    assert len(lines) == 2


def test_on_80_columns_the_bar_alone_gives_way(monkeypatch):
    monkeypatch.setattr(Console, "is_terminal", True)
    console = RunConsole(66_000, 0)
    console.step(33_000, 15.0)
    console.train(RECORD)
    screen = Console(file=io.StringIO(), width=80, color_system=None)
    screen.print(console._progress.get_renderable())
    (line,) = screen.file.getvalue().splitlines()
    figures = "33000/66000 loss=2.0000 top1=0.2500 images/s=1234 wait=13% -:--:--"
    assert re.fullmatch(f"epoch 15.0 .+ {figures}", line)


def test_text_is_printed_as_it_is(capsys):
    with RunConsole(10, 0) as console:
        console.say("writes to runs/a:cat:b [red]")
    published = default_config().published.to_dict() | {
        "source": "A :cat: paper [red] [/old]",
        "top1": 0.5,
    }
    print_results(RESULTS, None, published, 10)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "writes to runs/a:cat:b [red]"
    assert "published: A :cat: paper [red] [/old]" in lines


RESULTS = Averages(loss=0.1, top1=0.5, top5=0.875, num_examples=10000)


def test_results_beside_the_published(capsys):
    """The interval is Wilson's: scipy.stats.binomtest(5000, 10000).proportion_ci(method="wilson")."""
    published = {"source": "A paper", "top1": 0.6, "top5": None, "images_per_second": 12_000.0}
    print_results(RESULTS, 3456.7, published, 10)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "this run published" in lines
    assert "top1 50.00% (49.02% to 50.98%) 60.00%" in lines
    assert "top5 87.50%" in lines
    assert "images/s 3,457 12,000" in lines
    assert "published: A paper" in lines


@pytest.mark.parametrize(("num_classes", "shown"), [(5, False), (6, True)])
def test_top5_of_five_classes_is_left_out(capsys, num_classes, shown):
    print_results(RESULTS, None, default_config().published.to_dict(), num_classes)
    assert ("top5" in capsys.readouterr().out) == shown


def test_results_alone(capsys):
    nothing = default_config().published.to_dict()
    print_results(RESULTS, None, nothing, 10)
    output = capsys.readouterr().out
    assert "published" not in output
    assert "images/s" not in output


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_no_color_is_respected(monkeypatch, no_color, colored):
    leader, follower = pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        with RunConsole(10, 0) as console:
            console.step(5, 0.5)
            time.sleep(0.15)  # until the bar is drawn again
        monkeypatch.undo()
        terminal.flush()
        text = os.read(leader, 65536).decode()
    os.close(leader)
    assert "5/10" in text
    assert bool(re.search(r"\x1b\[[\d;]*3[0-8]", text)) == colored


def test_quiet_prints_the_last_line_only(tmp_path, capsys):
    final = loop.train(build(small_config(num_epochs=1)), tmp_path, quiet=True)
    assert capsys.readouterr().out == f"{eval_line(12, final)}\n"


def test_a_run_opens_with_at_most_eight_lines(tmp_path, capsys):
    config = small_config(num_epochs=1, **{"published.source": "A paper", "published.top1": 0.5})
    loop.train(build(config), tmp_path, recipe="configs/some.py:smoke")
    lines = capsys.readouterr().out.splitlines()
    opening = lines[: next(n for n, line in enumerate(lines) if line.startswith("train "))]
    assert len(opening) == 8
    assert [line[:10].strip() for line in opening] == [
        *("variant", "recipe", "data", "device", "strategy", "precision", "writes to", "begins")
    ]
    for text in ("cifar32, 10 classes", "configs/some.py:smoke", "96 training and 24 evaluation"):
        assert text in "\n".join(opening)
    assert str(tmp_path) in opening[6]
    assert any("published: A paper" in line for line in lines)
    assert lines[-1].startswith("eval step=12 ")


def test_progress_bar_on_a_terminal(tmp_path):
    """A real run on a real (pseudo) terminal: a bar with rate, input wait and time left; the last line stays."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "alexnet_jax.main", f"--config={ROOT}/configs/digits.py"]
    options = [f"--workdir={tmp_path}", "--config.num_epochs=2", "--config.log_every_steps=5"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150", "PYTHONPATH": str(ROOT)}
    environment |= {"JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(
        [*command, *options], stdout=follower, stderr=subprocess.PIPE, env=environment
    )
    os.close(follower)
    output = io.BytesIO()
    while True:
        try:
            output.write(os.read(leader, 65536))
        except OSError:  # the other end is closed
            break
    os.close(leader)
    assert process.stderr.read() == b""  # no noise of libraries
    process.stderr.close()
    assert process.wait() == 0
    text = output.getvalue().decode()
    assert "44/44" in text
    assert "images/s=" in text
    assert " wait=" in text
    assert "0:00:0" in text  # time left
    final = json.loads((tmp_path / "run.json").read_text())["final"]
    assert (
        text.rstrip()
        .splitlines()[-1]
        .endswith(eval_line(44, Averages(*(final[name] for name in Averages._fields))))
    )
