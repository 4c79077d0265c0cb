"""The charts of a report: metrics over epochs, and where the time went; several runs lie over one another."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from alexnet_jax.report.drawing import INK, MUTED, chart, line_style, to_svg
from alexnet_jax.report.records import Run

STEPS = [1, 2, 2.5, 5, 10]  # between two ticks, times a power of ten
FEW_POINTS = 60  # are marked one by one


class Chart(NamedTuple):
    """A drawing with its heading."""

    name: str
    title: str
    note: str
    svg: str


class Curve(NamedTuple):
    """One metric over epochs: which, how it is called and written, and whether evaluations have it too."""

    metric: str
    title: str
    note: str
    evaluated: bool
    write: Callable[[float], str]


def percent(value: float) -> str:
    """Returns a fraction in per cent, with as many places as it needs, at most two."""
    return f"{value * 100:.2f}".rstrip("0").rstrip(".") + " %"


CURVES = (
    Curve("loss", "Loss", "nats", True, "{:.3g}".format),
    Curve("top1", "Top-1 accuracy", "", True, percent),
    Curve("learning_rate", "Learning rate", "", False, "{:.3g}".format),
    Curve("images_per_second", "Images per second", "training", False, "{:,.0f}".format),
    Curve("input_wait_fraction", "Input wait", "share of the time", False, percent),
)
TIME_PARTS = {
    "start": "start",
    "step": "training steps",
    "input_wait": "input wait",
    "compile": "compilation",
    "evaluation": "evaluation",
    "checkpoint": "checkpoints",
}


def draw_curves(runs: Sequence[Run]) -> list[Chart]:
    """Returns a chart for every metric that any of the runs recorded."""
    charts = []
    for curve in CURVES:
        splits = ("train", "eval") if curve.evaluated else ("train",)
        if any(run.series(split, curve.metric)[0] for run in runs for split in splits):
            charts.append(_draw_curve(curve, runs, splits))
    return charts


def _draw_curve(curve: Curve, runs: Sequence[Run], splits: Sequence[str]) -> Chart:
    said = []
    with chart() as (figure, axes):
        for number, run in enumerate(runs):
            style = line_style(number)
            for split in splits:
                epochs, values = run.series(split, curve.metric)
                if not epochs:
                    continue
                evaluation = split == "eval"
                marked = evaluation or len(epochs) == 1
                axes.plot(
                    epochs,
                    values,
                    **style,
                    marker="o" if marked and len(epochs) <= FEW_POINTS else None,
                    markersize=3.2,
                    clip_on=curve.metric != "top1",  # whole marks at 0 and 100 %
                    alpha=0.55 if curve.evaluated and not evaluation else 1,
                    gid=f"{run.name}-{split}",
                )
                said.append(
                    f"{run.name}, {'evaluation' if evaluation else 'training'}: from "
                    f"{curve.write(values[0])} to {curve.write(values[-1])}"
                )
        if curve.metric == "top1":
            _published_line(axes, runs)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=STEPS))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(curve, value)))
        if curve.metric == "top1":
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, 0), min(high, 1))
        if curve.metric in ("images_per_second", "input_wait_fraction", "learning_rate"):
            axes.set_ylim(bottom=0)
        alternative = f"{curve.title} over epochs. {'; '.join(said)}."
        svg = to_svg(figure, curve.metric, alternative)
    return Chart(curve.metric, curve.title, curve.note, svg)


def _tick(curve: Curve, value: float) -> str:
    """Returns a number of an axis, with as many places as tell it from the next."""
    return percent(value) if curve.write is percent else f"{value:,.6g}"


def _published_line(axes: Axes, runs: Sequence[Run]) -> None:
    """Draws what the recipe's publisher reached, where all runs have the same to be compared with."""
    figures = {run.settings.get("published", {}).get("top1") for run in runs}
    if len(figures) != 1 or None in figures:
        return
    (top1,) = figures
    axes.axhline(top1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        "published",
        (0, top1),
        (2, 3),
        textcoords="offset points",
        color=MUTED,
        xycoords=("axes fraction", "data"),
    )


def draw_time(runs: Sequence[Run]) -> Chart | None:
    """Returns where the time of the finished runs went; None where none is finished."""
    finished = [(number, run.card) for number, run in enumerate(runs) if run.card is not None]
    if not finished:
        return None
    said, height, longest = [], 0.8 / len(finished), 0.0
    with chart(2.5 if len(finished) < 4 else 0.7 * len(finished)) as (figure, axes):
        for place, (number, card) in enumerate(finished):
            seconds = card["time_seconds"]
            spent = [seconds.get(part, 0.0) for part in TIME_PARTS]
            shares = [part / max(seconds["total"], 1e-9) for part in spent]
            longest = max(longest, *shares)
            rows = [row + (place - (len(finished) - 1) / 2) * height for row in range(len(shares))]
            bars = axes.barh(rows, shares, height * 0.9, color=line_style(number)["color"])
            written = [
                f"{percent(round(share, 2))}, {duration(part)}"
                for part, share in zip(spent, shares, strict=True)
            ]
            axes.bar_label(
                bars, written, padding=4, color=INK, fontsize=8.5 if height > 0.3 else 7.5
            )
            parts = zip(TIME_PARTS.values(), written, strict=True)
            said.append(
                f"{runs[number].name}: " + ", ".join(f"{name} {text}" for name, text in parts)
            )
        axes.set_yticks(range(len(TIME_PARTS)), TIME_PARTS.values())
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.set_xlim(0, 1.5 * longest)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(left=False)
        svg = to_svg(figure, "time", f"Where the time went. {'; '.join(said)}.")
    return Chart("time", "Where the time went", "of the last start", svg)


def duration(seconds: float) -> str:
    """Returns a duration as people say it: "0.4 s", "37 s", "2 min 5 s", "3 h 20 min".

    >>> [duration(seconds) for seconds in (0.42, 37.1, 125, 12_000)]
    ['0.4 s', '37 s', '2 min 5 s', '3 h 20 min']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
