"""Training on a platform JAX has never heard of: a real plugin, real data, the real command."""

import functools
import json
import tempfile
from pathlib import Path

import pytest

from alexnet_jax.train.parallel import STRATEGIES
from tests.backend import plugin


def _train(workdir: Path, backend: str, *arguments: str, **variables: str) -> list[str]:
    """Trains two epochs of the digits on four devices and returns what was printed."""
    command = [
        "alexnet_jax.main",
        f"--config={plugin.RECIPE}",
        f"--workdir={workdir}",
        f"--config.backend={backend}",
        *("--config.num_epochs=2", "--config.schedule.warmup_epochs=1"),
        *arguments,
    ]
    if backend != "cpu":
        command.append(f"--config.backend_library={plugin.library()}")
        variables["SHIM_PLATFORM"] = backend
    run = plugin.run(*command, cwd=workdir.parent, JAX_NUM_CPU_DEVICES="4", **variables)
    assert run.returncode == 0, run.stderr
    lines = [line for line in run.stderr.splitlines() if "is experimental and not all" not in line]
    assert lines == []  # no warning, of donation or else
    return run.stdout.splitlines()


def _losses(workdir: Path) -> list[float]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@functools.cache
def _cpu_losses() -> list[float]:
    with tempfile.TemporaryDirectory() as directory:
        workdir = Path(directory) / "cpu"
        _train(workdir, "cpu")
        return _losses(workdir)


def _device(path: Path) -> dict:
    card = json.loads(path.read_text())["device"]
    assert card["platform_version"]
    return {key: card[key] for key in ("platform", "kind", "count")}


@pytest.mark.parametrize(
    ("vendor", "strategy"),
    [*(("ascend", name) for name in STRATEGIES), ("iluvatar", "jit"), ("iluvatar", "pmap")],
)
def test_same_losses_as_the_cpu(tmp_path, vendor, strategy):
    workdir = tmp_path / "run"
    printed = _train(workdir, vendor, f"--config.parallelism={strategy}")
    limits = f"{vendor} does without: donation (each step copies the state), memory statistics"
    assert f"device    4 x Shim 910B ({vendor}); {limits}" in printed
    assert f"strategy  {strategy}, batch 64, 44 steps in 2 epochs" in printed
    losses = _losses(workdir)
    assert losses == pytest.approx(_cpu_losses(), rel=1e-3)
    assert losses[-1] < losses[0]

    records = (workdir / "metrics.jsonl").read_text().splitlines()
    devices = {json.loads(record)["device"] for record in records}
    assert len(devices) == 1
    assert devices.pop().startswith(f"4 x Shim 910B ({vendor}, ")

    run_card = workdir / "run.json"
    assert _device(run_card) == {"platform": vendor, "kind": "Shim 910B", "count": 4}
    assert json.loads(run_card.read_text())["peak_memory_bytes"] is None


def test_a_checkpoint_goes_to_the_cpu_and_back(tmp_path):
    workdir = tmp_path / "run"
    final = _train(workdir, "ascend")[-1]
    assert _train(workdir, "cpu", "--mode=eval")[-1] == final
    for backend, epochs in (("cpu", 3), ("ascend", 4)):
        printed = _train(workdir, backend, f"--config.num_epochs={epochs}")
        (line,) = (line for line in printed if line.startswith("continues "))
        assert line.startswith(f"continues from step {22 * (epochs - 1)}; changed since the run")
        identity = workdir / "checkpoints" / str(22 * epochs) / "identity" / "metadata"
        kind = "Shim 910B" if backend == "ascend" else "cpu"
        assert _device(identity) == {"platform": backend, "kind": kind, "count": 4}
    losses = _losses(workdir)
    assert losses[-1] < losses[0]


def test_auto_precision_falls_to_float32_where_halves_fail(tmp_path):
    printed = _train(
        tmp_path / "run",
        "ascend",
        *("--config.num_epochs=1", "--config.model.precision=auto"),
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
