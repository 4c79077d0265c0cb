"""Times the start of a run to the end of its first step, with an empty compilation cache and with the one that left.

python benchmarks/start.py [--rounds 3] [--config configs/digits.py] [--set KEY=VALUE ...]

Also the import of alexnet_jax beyond that of JAX and Flax. See benchmarks.md.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORTS = """
import time, jax, flax.nnx
start = time.perf_counter()
import alexnet_jax
imported = time.perf_counter()
alexnet_jax.create
print(imported - start, time.perf_counter() - start)
"""


def seconds_to_first_step(config: str, settings: list[str], cache: str) -> float:
    """Starts a run and ends it once its first step is recorded.

    Args:
      config: The recipe's file.
      settings: "KEY=VALUE" of what differs from it.
      cache: Directory of the compiled programs, or "off".
    """
    with tempfile.TemporaryDirectory() as workdir:
        command = [sys.executable, "-m", "alexnet_jax.main", f"--config={config}"]
        command += [f"--workdir={workdir}", "--config.log_every_steps=1"]
        command += [f"--config.{setting}" for setting in settings]
        command += [f"--config.compilation_cache={cache}"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        output = Path(workdir) / "output.log"
        start = time.perf_counter()
        with output.open("w") as log:
            run = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
            metrics = Path(workdir) / "metrics.jsonl"
            while not (metrics.exists() and metrics.stat().st_size):
                if run.poll() is not None:
                    sys.exit(f"the run ended with status {run.returncode}: {output.read_text()}")
                time.sleep(0.01)
            passed = time.perf_counter() - start
            run.kill()
            run.wait()
    return passed


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/digits.py", help="default: the digits")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of the recipe")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    imports = []
    times: dict[str, list[float]] = {"first": [], "second": [], "without a cache": []}
    for _ in range(options.rounds):
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.check_output([sys.executable, "-c", IMPORTS], env=environment, text=True)
        imports.append([float(word) for word in done.split()])
        with tempfile.TemporaryDirectory() as cache:
            for name in ("first", "second"):
                times[name].append(seconds_to_first_step(options.config, options.set, cache))
        times["without a cache"].append(seconds_to_first_step(options.config, options.set, "off"))
    bare, whole = (1e3 * statistics.median(column) for column in zip(*imports, strict=True))
    print(f"import alexnet_jax after jax and flax.nnx: {bare:.1f} ms; with create {whole:.1f} ms")
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, seconds in medians.items():
        ratio = seconds / medians["first"]
        print(f"{name:16} {seconds:6.1f} s  {ratio:.2f}  {[round(x, 1) for x in times[name]]}")


if __name__ == "__main__":
    main()
