"""The report for a GPU machine: runs with little installed, checks before it times, and says what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MISSING = ("ml_collections", "grain", "tensorflow_datasets", "orbax", "tensorboardX", "simplejpeg")
PROGRAM = f"""
import sys
sys.modules |= dict.fromkeys({MISSING}, None)
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
from alexnet_jax.train import ceilings, dispatch
ceilings.PRODUCT_SIZE, ceilings.COPY_BYTES = 512, 2**22
dispatch.AUTOMATIC_STEPS = 2
import gpu_report
sys.exit(gpu_report.main(sys.argv[1:]))
"""
OPTIONS = (
    *("--variant", "cifar32", "--image-size", "32", "--num-classes", "10", "--batch-sizes", "8"),
    *("--precisions", "float32", "--resident-batch-size", "8", "--rounds", "2"),
)


def test_the_report_needs_little_and_measures_everything(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # how fast it is does not matter here
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "out"), *OPTIONS]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / "out" / "gpu_report.json").read_text())
    assert set(report) == {
        *("about", "checks", "steps", "layers", "augmentation", "transfer", "resident"),
        *("profile", "memory"),
    }
    assert all(row["right"] for row in report["checks"])
    assert {row["layers"] for row in report["steps"]} >= {"plain"}
    names = {row["layer"] for row in report["layers"]}
    assert names == {
        *(f"conv{number}" for number in range(1, 6)),
        *("relu1 + pool1", "relu2 + pool2", "relu5 + pool5", "fc6"),
    }
    assert [row["steps_per_dispatch"] for row in report["resident"][:2]] == [2, 1]
    for part in ("steps", "layers", "augmentation", "transfer", "resident"):
        assert all(row["milliseconds"] > 0 for row in report[part]), part
    assert report["profile"]
    printed = (tmp_path / "out" / "gpu_report.txt").read_text()
    assert run.stdout == printed
    assert "relu5 + pool5" in printed
