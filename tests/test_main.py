"""The door, from the command line to the exit status."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alexnet_jax.config import rules
from alexnet_jax.main import main
from alexnet_jax.train import dry_run

ROOT = Path(__file__).parents[1]
DIGITS = f"--config={ROOT}/configs/digits.py"


def _main(*arguments: str) -> int:
    return main(["main", *arguments])


def _refused(capsys, *arguments: str, printed: bool = False) -> str:
    """Returns the message of a request that must be refused, before anything is printed unless ``printed``."""
    assert _main(*arguments) == 2
    output = capsys.readouterr()
    assert printed or output.out == ""
    assert "Traceback" not in output.err
    return output.err


def test_trains_and_evaluates_cifar10_in_its_exact_format(tmp_path, capsys):
    """20 + 10 records, a batch of 8: evaluation counts each of the 10 once."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    records = np.random.default_rng(0).integers(0, 256, (30, 3073), np.uint8)
    records[:, 0] %= 10
    for number in range(5):
        (folder / f"data_batch_{number + 1}.bin").write_bytes(records[4 * number :][:4].tobytes())
    (folder / "test_batch.bin").write_bytes(records[20:].tobytes())
    arguments = [
        f"--config={ROOT}/configs/cifar10.py",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.path={tmp_path}",
        *("--config.batch_size=8", "--config.num_epochs=2", "--config.schedule.warmup_epochs=1"),
        *("--config.data.image_size=67", "--config.model.precision=float32"),
    ]
    assert _main(*arguments) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("eval step=4 ")
    assert last.endswith(" n=10")

    assert _main(*arguments, "--mode=eval") == 0
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_trains_and_evaluates_a_folder(tmp_path, capsys):
    from PIL import Image

    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for name in ("ant", "bee"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                size = (40 + 5 * number, 50, 3)
                Image.fromarray(generator.integers(0, 256, size, np.uint8)).save(
                    folder / f"{number}.JPEG"
                )
    status = _main(
        f"--config={ROOT}/configs/imagenet.py",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.path={tmp_path}",
        *("--config.model.variant=cifar32", "--config.model.num_classes=2"),
        *("--config.eval.resize_pixels=36", "--config.batch_size=4", "--config.num_epochs=6"),
    )
    assert status == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("eval step=24 ")
    assert last.endswith(" n=6")


def test_dry_run_says_how_much_memory_and_writes_nothing(tmp_path, capsys, monkeypatch):
    """cifar32: parameters and momentum are 2 x 4 x 2,472,266 bytes; the step needs them at least."""
    arguments = (DIGITS, f"--workdir={tmp_path / 'run'}", "--dry_run")
    assert _main(*arguments) == 0
    training, evaluation, last = capsys.readouterr().out.splitlines()
    sizes = [float(line.split("memory: ")[1].split(" GB")[0]) for line in (training, evaluation)]
    assert 2 * 4 * 2_472_266 / 1e9 < sizes[0] < 1
    assert 4 * 2_472_266 / 1e9 < sizes[1] < 1
    assert last == f"dry run: 660 steps would be trained in {tmp_path / 'run'}"
    assert not list(tmp_path.iterdir())

    monkeypatch.setattr(dry_run, "memory_bytes", lambda device: 10**6)
    message = _refused(capsys, *arguments, printed=True)
    assert "of 0.00 GB on each device; use a smaller batch_size" in message


def test_dry_run_counts_the_steps_that_are_left(tmp_path, capsys):
    arguments = [f"--config={ROOT}/configs/digits.py:smoke", f"--workdir={tmp_path / 'run'}"]
    assert _main(*arguments) == 0
    assert _main(*arguments, "--config.num_epochs=5", "--dry_run") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    where = f"in {tmp_path / 'run'}, which has done 2 of 10"
    assert last == f"dry run: 8 steps would be trained {where}"


def test_dry_run_refuses_what_the_run_would(tmp_path, capsys):
    """Starting weights that are not there or cannot be frozen, a run that has trained longer or is of another model."""
    arguments = (DIGITS, f"--workdir={tmp_path / 'run'}")
    for changes, message in (
        (["--config.optimizer.freeze=('conv1',)"], "without init_weights they are random; use"),
        ([f"--config.init_weights={tmp_path / 'none.pth'}"], "none.pth: there is no such file; na"),
    ):
        asked = _refused(capsys, *arguments, *changes)
        assert message in asked
        assert _refused(capsys, *arguments, *changes, "--dry_run") == asked
    assert not list(tmp_path.iterdir())


def test_all_faults_at_once(tmp_path, capsys):
    """Unknown key, wrong type, bad value, batch and devices (four here), classes and data."""
    message = _refused(
        capsys,
        DIGITS,
        f"--workdir={tmp_path / 'run'}",
        "--config.optimiser.momentum=0.9",
        "--config.num_epochs=many",
        "--config.optimizer.momentum",
        "2",
        "--config.batch_size=66",
        "--config.model.num_classes=7",
    )
    assert message.splitlines() == [
        "--config.optimiser.momentum: there is no such key; did you mean optimizer.momentum?",
        "--config.num_epochs='many' is not a whole number (the recipe has 30).",
        "optimizer.momentum=2.0 is not possible; use a number in [0, 1).",
        "batch_size=66 cannot be split over 4 devices; use 64 or 68.",
        "model.num_classes=7, but the data have 10 classes; use --config.model.num_classes=10.",
    ]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("batch_size", "the default is 256."),
        ("optimizer.accumulate_steps", "the default is 1."),
        ("steps_per_dispatch", "the default is 0."),
        ("compilation_cache", "the default is 'auto'."),
        ("distributed.num_processes", "the default is 0."),
        ("distributed", "it is a section, set its keys."),
        ("backend_options", "it is a section, set its keys."),
    ],
)
def test_none_in_a_recipe_is_refused_before_it_is_used(tmp_path, capsys, key, remedy):
    recipe = tmp_path / "recipe.py"
    recipe.write_text(
        "from alexnet_jax.config import default_config\n"
        f"def get_config():\n    config = default_config()\n    config.{key} = None\n    return config\n"
    )
    message = _refused(capsys, f"--config={recipe}", f"--workdir={tmp_path}/run", "--config.foo=1")
    assert message.splitlines() == [
        "--config.foo: there is no such key; docs/configuration.md lists them all.",
        f"{key}=None is not possible; {remedy}",
    ]


def test_more_steps_than_a_run_can_have(tmp_path, capsys):
    arguments = (DIGITS, f"--workdir={tmp_path}/run", "--config.batch_size=64")
    message = _refused(capsys, *arguments, "--config.num_epochs=100000000")
    assert message.splitlines() == [
        (
            "num_epochs=100000000 of 22 steps each are 2200000000 steps, and a run can have 2147483647; "
            "use at most 97612893, or a larger batch_size."
        )
    ]
    message = _refused(capsys, *arguments[:2], "--config.batch_size=0")
    assert message.splitlines()[-1] == "batch_size=0 is not possible; use at least 1."


def test_batch_larger_than_the_data(tmp_path, capsys):
    message = _refused(capsys, DIGITS, f"--workdir={tmp_path}/run", "--config.batch_size=2000")
    assert "batch_size=2000 is larger than the 1437 training examples; use at most 1437." in message


def test_too_little_memory_is_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rules, "MOST_PIXELS", 10**6)  # no sooner does every machine have too little
    size = "--config.data.image_size=200000"  # a classifier of 400 GB
    assert _main(DIGITS, f"--workdir={tmp_path}", size) == 1
    printed = capsys.readouterr().err
    assert "the memory does not suffice (Out of memory allocating" in printed
    assert "; use a smaller batch_size, or" in printed
    assert "Traceback" not in printed


def test_imagenet_without_data_tells_how_to_get_it(capsys):
    message = _refused(capsys, f"--config={ROOT}/configs/imagenet.py")
    for part in (
        "https://image-net.org",
        "DIR/train/n01440764/*.JPEG",
        "--config.data.path=DIR",
        "--config configs/imagenet.py:smoke",
    ):
        assert part in message


def test_workdir_of_another_model(tmp_path, capsys):
    assert _main(f"{DIGITS}:smoke", f"--workdir={tmp_path}") == 0
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    message = _refused(
        capsys, f"{DIGITS}:smoke", f"--workdir={tmp_path}", "--config.model.num_classes=5"
    )
    assert "is a checkpoint of another model (num_classes 10 there, 5 here)" in message
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config is missing; the recipes are in configs/."),
        (
            ["--config=nothing.py"],
            "'nothing.py': there is no such file; the recipes are in configs/",
        ),
        ([DIGITS.replace("digits", "digit")], "configs/digits.py?"),
        ([DIGITS.replace("digits", "xyz")], "the recipes are in configs/"),
        ([DIGITS, "--mode=test"], "flag --mode=test: value should be one of <train|eval>"),
        ([DIGITS, "--wordkir=x"], "Unknown command line flag 'wordkir'"),
        ([DIGITS, "surplus"], "unknown argument 'surplus'."),
        ([f"{DIGITS}:fast"], "unknown argument fast; this recipe takes smoke."),
    ],
)
def test_bad_command_lines(capsys, arguments, message):
    assert message in _refused(capsys, *arguments)


def test_help(capsys):
    assert _main("--help") == 0
    printed = capsys.readouterr().out
    assert "python -m alexnet_jax.main --config configs/digits.py" in printed
    assert "an installed wheel does not" in printed


def test_as_a_module_with_the_default_workdir(tmp_path):
    """A real process: exit statuses, where it writes, and nothing on standard error."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "alexnet_jax.main",
        "--config",
        f"{ROOT}/configs/digits.py:smoke",
    ]
    good = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (good.returncode, good.stderr) == (0, "")
    assert (tmp_path / "runs" / "digits-smoke" / "run.json").exists()

    bad = subprocess.run(
        [*command, "--config.foo=1"], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert (
        bad.stderr == "--config.foo: there is no such key; docs/configuration.md lists them all.\n"
    )
