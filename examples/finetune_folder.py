"""Fine-tunes weights to a folder of images, one folder a class, and labels them with the result.

python examples/finetune_folder.py alexnet.pth photos/ [--workdir DIR] [--config.num_epochs=3 ...]
"""

import argparse
import sys
from pathlib import Path

from alexnet_jax import __main__ as commands
from alexnet_jax import main

parser = argparse.ArgumentParser(description="Fine-tunes weights to a folder of images.")
parser.add_argument("weights", help="a file of weights or a workdir")
parser.add_argument("folder", help="one folder of images a class")
parser.add_argument("--workdir", default="runs/finetune", help="where the run is written")
options, settings = parser.parse_known_args()  # settings: --config.KEY=VALUE

recipe = Path(__file__).parents[1] / "configs" / "finetune.py"
status = main.main(
    [
        *("main", f"--config={recipe}", f"--workdir={options.workdir}"),
        *(f"--config.init_weights={options.weights}", f"--config.data.path={options.folder}"),
        *settings,
    ]
)
if status == 0:
    status = commands.main(["predict", "--weights", options.workdir, "--top", "2", options.folder])
if status:
    sys.exit(status)
