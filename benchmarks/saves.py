"""What a checkpoint leaves in memory, by the line that asked for it; see docs/reliability.md.

    python benchmarks/saves.py [--saves 200]

The state of `configs/digits.py`, saved again and again as a run saves it. Python's own allocator is watched
(tracemalloc), once the first saves have filled what caches there are.
"""

import argparse
import gc
import tempfile
import tracemalloc
from pathlib import Path

import jax

from alexnet_jax import config as configuration
from alexnet_jax.train import experiment
from alexnet_jax.train.checkpoint_writer import Checkpoints

ROOT = Path(__file__).parents[1]
LINES = 8


def main() -> None:
    """Saves, and prints the bytes and blocks that each save left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, default=200)
    options = parser.parse_args()
    config = configuration.load(str(ROOT / "configs/digits.py"))
    run = experiment.build(config, experiment.open_sources(config), jax.devices()[:1])
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), run.identity, keep=2, keep_best=False)

        def save(first: int, count: int) -> None:
            for step in range(first, first + count):
                checkpoints.save(step, run.initial_state, None)
            checkpoints.wait()
            gc.collect()

        save(1, options.saves // 4)
        tracemalloc.start()
        before = tracemalloc.take_snapshot()
        save(1 + options.saves // 4, options.saves)
        lines = tracemalloc.take_snapshot().compare_to(before, "lineno")
        checkpoints.close()
    own = [line for line in lines if line.traceback[0].filename != tracemalloc.__file__]
    print(
        f"{sum(line.size_diff for line in own) / options.saves:.0f} bytes of Python's a save; of these"
    )
    for line in own[:LINES]:
        frame = line.traceback[0]
        print(
            f"{line.size_diff / options.saves:9.0f} bytes in {line.count_diff / options.saves:.0f} blocks: "
            f"{'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno}"
        )


if __name__ == "__main__":
    main()
