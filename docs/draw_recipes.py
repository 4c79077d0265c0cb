"""Draws the learning-rate curve of every recipe: python docs/draw_recipes.py (needs matplotlib).

Writes docs/recipes/NAME.svg from configs/, so that a curve cannot say something else than its recipe.
"""

from pathlib import Path

import jax
import matplotlib
import numpy as np

from alexnet_jax import config as configuration
from alexnet_jax.train import parts

matplotlib.use("svg")
from matplotlib import pyplot

ROOT = Path(__file__).parents[1]
TRAINING_IMAGES = {"folder": 1_281_167, "cifar10_binary": 50_000, "digits": 1_437}
POINTS = 240


def draw(path: Path) -> None:
    """Draws the curve of one recipe; of a plateau schedule the rate before evaluations lower it."""
    config = configuration.load(str(path))
    steps_per_epoch = TRAINING_IMAGES[config.data.source] // config.batch_size
    steps = np.unique(np.linspace(0, config.num_epochs * steps_per_epoch - 1, POINTS, dtype=int))
    rates = jax.vmap(parts.schedule(config, steps_per_epoch))(steps)
    pyplot.rcParams.update({"svg.hashsalt": "recipes", "svg.fonttype": "none"})
    figure, axes = pyplot.subplots(figsize=(4, 1.6), layout="constrained")
    axes.plot(steps / steps_per_epoch, rates, color="#1f5fa8", linewidth=1.5)
    axes.set_xlabel("epoch")
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    out = ROOT / "docs" / "recipes" / f"{path.stem}.svg"
    figure.savefig(out, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    lines = [line.rstrip() for line in out.read_text().splitlines()]
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    for recipe in sorted((ROOT / "configs").rglob("*.py")):
        draw(recipe)
