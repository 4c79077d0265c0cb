import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from alexnet_jax.train.console import RunConsole, eval_line
from alexnet_jax.train.metrics import Averages

ROOT = Path(__file__).parents[2]


def test_eval_line_is_the_contract_s():
    line = eval_line(120, Averages(loss=0.12345, top1=0.98, top5=1.0, num_examples=10000))
    assert line == "eval step=120 loss=0.1235 top1=0.9800 top5=1.0000 n=10000"


def test_plain_lines_where_there_is_no_terminal(capsys):
    record = {
        "step": 5,
        "epoch": 0.5,
        "loss": 2.0,
        "top1": 0.25,
        "learning_rate": 0.01,
        "images_per_second": 1234.5,
        "input_wait_fraction": 0.126,
    }
    with RunConsole(10, 0) as console:
        console.step(5, 0.5)
        console.train(record)
        console.say("[not markup] " + "long " * 40)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "train step=5 epoch=0.50 loss=2.0000 top1=0.2500 images/s=1234 input_wait=13% "
        "learning_rate=0.01"
    )
    assert lines[1].startswith("[not markup] long")
    assert len(lines) == 2


def test_progress_bar_on_a_terminal(tmp_path):
    """A real run on a real (pseudo) terminal: a bar with rate, input wait and time left; the last line stays."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "alexnet_jax.main", f"--config={ROOT}/configs/digits.py"]
    options = [f"--workdir={tmp_path}", "--config.num_epochs=2", "--config.log_every_steps=5"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150", "PYTHONPATH": str(ROOT)}
    environment |= {"JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(
        [*command, *options], stdout=follower, stderr=subprocess.DEVNULL, env=environment
    )
    os.close(follower)
    output = io.BytesIO()
    while True:
        try:
            output.write(os.read(leader, 65536))
        except OSError:  # the other end is closed
            break
    os.close(leader)
    assert process.wait() == 0
    text = output.getvalue().decode()
    assert "44/44" in text
    assert "images/s=" in text
    assert "input_wait=" in text
    assert "0:00:0" in text  # time left
    final = json.loads((tmp_path / "run.json").read_text())["final"]
    assert (
        text.rstrip()
        .splitlines()[-1]
        .endswith(eval_line(44, Averages(*(final[name] for name in Averages._fields))))
    )
