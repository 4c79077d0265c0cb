"""Fine-tunes weights to a folder of images, one folder a class, and labels them with the result.

python examples/finetune_folder.py alexnet.pth photos/ [--config.num_epochs=3 ...]
"""

import sys
from pathlib import Path

from alexnet_jax import __main__ as commands
from alexnet_jax import main

weights, folder, *settings = sys.argv[1:]
recipe = Path(__file__).parents[1] / "configs" / "finetune.py"
status = main.main(
    [
        *("main", f"--config={recipe}", "--workdir=runs/finetune"),
        *(f"--config.init_weights={weights}", f"--config.data.path={folder}", *settings),
    ]
)
if status == 0:
    status = commands.main(["predict", "--weights", "runs/finetune", "--top", "2", folder])
if status:
    sys.exit(status)
