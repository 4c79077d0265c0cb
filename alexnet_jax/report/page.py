"""Puts a report together: everything that ``page.html`` shows, as plain values."""

import importlib.resources
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

import alexnet_jax
from alexnet_jax import config as configuration
from alexnet_jax.report import mistakes
from alexnet_jax.report.curves import draw_curves, draw_time, duration, percent
from alexnet_jax.report.examination import Examination
from alexnet_jax.report.pictures import data_uri, thumbnail
from alexnet_jax.report.records import Run
from alexnet_jax.train.metrics import CLASSES_ALL_IN_TOP5
from alexnet_jax.train.pictures import filter_grid
from alexnet_jax.train.predictions import Predictions
from alexnet_jax.train.settings import flat

MOST_MATRIX_CLASSES = 12  # more do not fit on a telephone; then the most confused pairs are listed
PAIRS = 15
EXAMPLES = 6  # best, and as many worst


def render(runs: Sequence[Run], examinations: Sequence[Examination]) -> str:
    """Returns the page about one run, or about several side by side.

    Args:
      runs: With different names.
      examinations: One a run.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = importlib.resources.files(__package__).joinpath("page.html").read_text("utf-8")
    time = draw_time(runs)
    return environment.from_string(source).render(
        title=" and ".join(run.name for run in runs) if len(runs) < 4 else f"{len(runs)} runs",
        version=alexnet_jax.__version__,
        results=[_result(number, run) for number, run in enumerate(runs)],
        published=_published(runs),
        charts=draw_curves(runs) + ([time] if time else []),
        differing=_differing(runs) if len(runs) > 1 else [],
        runs=[_section(run, seen) for run, seen in zip(runs, examinations, strict=True)],
    )


def _result(number: int, run: Run) -> dict[str, Any]:
    """Returns the row of a run in the table of results."""
    evaluations = run.split("eval")
    final = run.card["final"] if run.card else evaluations[-1] if evaluations else {}
    rates = [record["images_per_second"] for record in run.split("train")]
    rate = run.card["images_per_second"] if run.card else None
    few = run.settings["model"]["num_classes"] in range(CLASSES_ALL_IN_TOP5 + 1)
    interval = ""
    if {"top1_low", "top1_high"} <= final.keys():
        interval = f"{percent(final['top1_low'])} to {percent(final['top1_high'])}"
    return {
        "number": number,
        "name": run.name,
        "about": _about(run),
        "top1": percent(final["top1"]) if final else "",
        "interval": interval,
        "top5": percent(final["top5"]) if final and not few else "",
        "loss": f"{math.nan if final['loss'] is None else final['loss']:.4f}" if final else "",
        "rate": f"{rate or rates[-1]:,.0f}" if rate or rates else "",
        "time": duration(run.card["time_seconds"]["total"]) if run.card else "",
        "wait": _input_wait(run),
    }


def _about(run: Run) -> str:
    settings = run.settings
    epochs = settings["num_epochs"]
    text = f"{settings['model']['variant']} on {settings['data']['source']}, {epochs} epoch{'s' * (epochs != 1)}"
    return text if run.card else f"{text}; not ended"


def _input_wait(run: Run) -> str:
    if run.card is None:
        return ""
    seconds = run.card["time_seconds"]
    training = seconds["step"] + seconds["input_wait"]
    return percent(round(seconds["input_wait"] / training, 3)) if training else ""


def _published(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Returns what the recipes' publishers reached, each once."""
    rows = []
    for run in runs:
        figures = run.settings.get("published")
        if not figures or not figures["source"]:
            continue
        row = {
            "source": figures["source"],
            "top1": percent(figures["top1"]) if figures["top1"] else "",
            "top5": percent(figures["top5"]) if figures["top5"] else "",
            "rate": f"{figures['images_per_second']:,.0f}" if figures["images_per_second"] else "",
        }
        if row not in rows:
            rows.append(row)
    return rows


def _section(run: Run, seen: Examination) -> dict[str, Any]:
    """Returns what is shown of one run alone."""
    notes = list(seen.missing)
    if run.card is None:
        notes.insert(0, "The run has not ended: there is no run card yet.")
    if not run.records:
        notes.append("metrics.jsonl holds no record yet.")
    if run.damaged_lines:
        lines = ", ".join(map(str, run.damaged_lines[:20]))
        count = len(run.damaged_lines)
        more = f", ... ({count} in all)" if count > 20 else ""
        notes.append(f"Damaged lines of metrics.jsonl that were left out: {lines}{more}.")
    section = {
        "name": run.name,
        "notes": notes,
        "filters": _filter_pictures(seen),
        "card": _card(run),
        "changed": _changed(run.settings),
        "matrix": [],
        "pairs": [],
        "examples": [],
        "evaluated": "",
    }
    if seen.predictions is not None:
        section |= _evaluated(seen, seen.predictions)
    return section


def _filter_pictures(seen: Examination) -> list[dict[str, str]]:
    pictures = []
    for when, kernel in (
        ("At the start", seen.first_filters),
        (f"After {seen.step} steps", seen.last_filters),
    ):
        if kernel is None:
            continue
        height, width, _, count = kernel.shape
        what = f"The {count} filters of the first layer, {width} x {height} pixels each"
        alternative = f"{what}, {when[0].lower()}{when[1:]}"
        pictures.append({"src": data_uri(filter_grid(kernel)), "caption": when, "alt": alternative})
    return pictures


def _evaluated(seen: Examination, predictions: Predictions) -> dict[str, Any]:
    names = seen.class_names
    wrong = int((predictions.classes[:, 0] != predictions.labels).sum())
    evaluated = (
        f"The checkpoint of step {seen.step}, evaluated again on {seen.device}: "
        f"{wrong} of {len(predictions.labels)} images are taken for another class."
    )
    if seen.broken:
        evaluated += f" {len(seen.broken)} could not be read: others were taken in their place."
    shown: dict[str, Any] = {
        "evaluated": evaluated,
        "pairs": mistakes.most_confused(predictions, names, PAIRS),
        "examples": [
            ("Best known", _examples(seen, predictions, mistakes.best(predictions))),
            ("Worst known", _examples(seen, predictions, mistakes.worst(predictions))),
        ],
    }
    if len(names) <= MOST_MATRIX_CLASSES:
        counts = mistakes.confusion_matrix(predictions, len(names))
        rows = zip(names, counts.tolist(), strict=True)
        shown["matrix"] = [(name, row, max(sum(row), 1)) for name, row in rows]
    return shown


def _examples(seen: Examination, predictions: Predictions, order: np.ndarray) -> list[Any]:
    """Returns what is shown of the first images in an order that can be read."""
    shown = []
    for index in order[~np.isin(order, seen.broken)][:EXAMPLES].tolist():
        label = int(predictions.labels[index])
        guesses = zip(predictions.classes[index], predictions.probabilities[index], strict=True)
        truth, first = seen.class_names[label], seen.class_names[predictions.classes[index, 0]]
        right = f"taken for {first}" if first != truth else "recognised"
        shown.append(
            {
                "src": data_uri(thumbnail(seen.pixels(index))),
                "alt": f"{seen.describe(index)}, a {truth}, {right}",
                "truth": truth,
                "loss": f"{predictions.losses[index]:.3g}",
                "guesses": [
                    (seen.class_names[number], float(share), int(number) == label)
                    for number, share in guesses
                ],
            }
        )
    return shown


def _card(run: Run) -> list[tuple[str, str]]:
    """Returns the run card as names and texts."""
    settings, card = run.settings, run.card
    rows = [
        ("Directory", run.workdir.resolve().name),
        ("Network", f"{settings['model']['variant']}, {settings['model']['num_classes']} classes"),
        ("Data", f"{settings['data']['source']} {settings['data']['path']}".strip()),
        ("Batch", f"{settings['batch_size']} images"),
        ("Seed", str(settings["seed"])),
    ]
    if card is None:
        return rows
    device = card["device"]
    memory = card["peak_memory_bytes"]
    return [
        *rows,
        ("Steps", f"{card['start_step']} to {card['steps']}"),
        ("Device", f"{device['count']} x {device['kind']} ({device['platform']})"),
        ("Processes", str(device["processes"])),
        ("Precision", card["precision"]),
        ("Parallelism", card["parallelism"]),
        *([("Peak memory", f"{memory / 2**20:,.0f} MiB")] if memory else []),
        ("Data fingerprint", ", ".join(f"{k} {v}" for k, v in card["data_fingerprint"].items())),
        ("Broken images", ", ".join(f"{k} {v}" for k, v in card["broken_images"].items())),
        ("Versions", ", ".join(f"{name} {text}" for name, text in card["versions"].items())),
        ("Command", _command(card["command"])),
    ]


def _command(arguments: Sequence[str]) -> str:
    """Returns a command as a shell takes it; the training door as it is entered, not by its file."""
    program, *others = arguments
    own = Path(program).parts[-2:] == ("alexnet_jax", "main.py")
    return shlex.join([*(("python", "-m", "alexnet_jax.main") if own else (program,)), *others])


def _changed(settings: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Returns the settings that are not the defaults: name, value, default."""
    defaults = flat(configuration.default_config().to_dict())
    return [
        (name, _written(value), _written(defaults.get(name)))
        for name, value in flat(settings).items()
        if _written(value) != _written(defaults.get(name))
    ]


def _differing(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Returns the settings that are not the same in all runs, with every run's value."""
    columns = [flat(run.settings) for run in runs]
    names = sorted({name for column in columns for name in column})
    rows = [(name, [_written(column.get(name)) for column in columns]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _written(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_written, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
