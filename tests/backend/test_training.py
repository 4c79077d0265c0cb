"""Training on a platform JAX has never heard of: a real plugin, real data, the real command."""

import json
import shutil
from pathlib import Path

import pytest

from alexnet_jax.train.parallel import STRATEGIES
from tests.backend import plugin

# One process trains several times: each start of the plugin costs more than the steps.
PROGRAM = """
import json, sys
from alexnet_jax.main import main
for arguments in json.loads(sys.argv[1]):
    print("starts", flush=True)
    assert main(["main", *arguments]) == 0
"""


def _arguments(workdir: Path, backend: str, *more: str) -> list[str]:
    """Returns what the command takes to train two epochs of the digits."""
    arguments = [f"--config={plugin.RECIPE}", f"--workdir={workdir}", f"--config.backend={backend}"]
    if backend != "cpu":
        arguments.append(f"--config.backend_library={plugin.library()}")
    return [*arguments, "--config.num_epochs=2", "--config.schedule.warmup_epochs=1", *more]


def _run(cwd: Path, backend: str, *commands: list[str], **variables: str) -> list[list[str]]:
    """Runs the command several times in one process, on four devices, and returns what each printed."""
    if backend != "cpu":
        variables["SHIM_PLATFORM"] = backend
    program = ("-c", PROGRAM, json.dumps(commands))
    run = plugin.python(*program, cwd=cwd, JAX_NUM_CPU_DEVICES="4", **variables)
    assert run.returncode == 0, run.stderr
    lines = [line for line in run.stderr.splitlines() if "is experimental and not all" not in line]
    assert lines == []  # no warning, of donation or else
    _, *printed = run.stdout.split("starts\n")
    assert len(printed) == len(commands)
    return [text.splitlines() for text in printed]


def _losses(workdir: Path) -> list[float]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.fixture(scope="module")
def cpu_run(tmp_path_factory) -> tuple[Path, str]:
    """A run on the CPU, and the last line it printed."""
    workdir = tmp_path_factory.mktemp("cpu")
    ((*_, final),) = _run(workdir, "cpu", _arguments(workdir, "cpu"))
    return workdir, final


def _device(path: Path) -> dict:
    card = json.loads(path.read_text())["device"]
    assert card["platform_version"]
    return {key: card[key] for key in ("platform", "kind", "count")}


@pytest.mark.parametrize(
    ("vendor", "strategies"), [("ascend", STRATEGIES), ("iluvatar", ("jit", "pmap"))]
)
def test_same_losses_as_the_cpu(tmp_path, cpu_run, vendor, strategies):
    commands = [
        _arguments(tmp_path / name, vendor, f"--config.parallelism={name}") for name in strategies
    ]
    limits = f"{vendor} does without: donation (each step copies the state), memory statistics"
    for strategy, printed in zip(strategies, _run(tmp_path, vendor, *commands), strict=True):
        assert f"device    4 x Shim 910B ({vendor}); {limits}" in printed
        assert f"strategy  {strategy}, batch 64, 44 steps in 2 epochs" in printed
        _check_what_was_written(tmp_path / strategy, vendor, _losses(cpu_run[0]))


def _check_what_was_written(workdir: Path, vendor: str, cpu_losses: list[float]) -> None:
    losses = _losses(workdir)
    assert losses == pytest.approx(cpu_losses, rel=1e-3)
    assert losses[-1] < losses[0]

    records = (workdir / "metrics.jsonl").read_text().splitlines()
    devices = {json.loads(record)["device"] for record in records}
    assert len(devices) == 1
    assert devices.pop().startswith(f"4 x Shim 910B ({vendor}, ")

    run_card = workdir / "run.json"
    assert _device(run_card) == {"platform": vendor, "kind": "Shim 910B", "count": 4}
    assert json.loads(run_card.read_text())["peak_memory_bytes"] is None


def test_a_checkpoint_goes_from_the_cpu_and_back(tmp_path, cpu_run):
    trained, final = cpu_run
    workdir = shutil.copytree(trained, tmp_path / "run")
    evaluation = _arguments(workdir, "ascend", "--mode=eval")
    longer = _arguments(workdir, "ascend", "--config.num_epochs=3")
    (*_, evaluated), third = _run(tmp_path, "ascend", evaluation, longer)
    assert evaluated == final
    longer = _arguments(workdir, "cpu", "--config.num_epochs=4")
    (fourth,) = _run(tmp_path, "cpu", longer)
    for backend, epochs, printed in (("ascend", 3, third), ("cpu", 4, fourth)):
        (line,) = (line for line in printed if line.startswith("continues "))
        assert line.startswith(
            f"continues from step {22 * (epochs - 1)}; changed since its last start"
        )
        identity = workdir / "checkpoints" / str(22 * epochs) / "identity" / "metadata"
        kind = "Shim 910B" if backend == "ascend" else "cpu"
        assert _device(identity) == {"platform": backend, "kind": kind, "count": 4}
    losses = _losses(workdir)
    assert losses[-1] < losses[0]


def test_auto_precision_falls_to_float32_where_halves_fail(tmp_path):
    (printed,) = _run(
        tmp_path,
        "ascend",
        _arguments(
            *(tmp_path / "run", "ascend"),
            *("--config.num_epochs=1", "--config.model.precision=auto"),
        ),
        SHIM_REFUSE="precision_check",
    )
    assert "precision float32" in printed
    limits = (
        "ascend does without: bfloat16 convolutions, float16 convolutions, "
        "donation (each step copies the state), memory statistics"
    )
    assert f"device    4 x Shim 910B (ascend); {limits}" in printed


def test_devices_that_cannot_add_up_are_refused(tmp_path):
    run = plugin.run(
        "alexnet_jax.main",
        f"--config={plugin.RECIPE}:smoke",
        f"--workdir={tmp_path}",
        "--config.backend=ascend",
        f"--config.backend_library={plugin.library()}",
        cwd=tmp_path,
        SHIM_REFUSE="all_reduce_check",
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines()[-1] == (
        "backend 'ascend' cannot add up over its 4 devices: INVALID_ARGUMENT: this operation has no kernel. "
        "Try: one device, e.g. ASCEND_RT_VISIBLE_DEVICES=0."
    )
