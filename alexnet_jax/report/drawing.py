"""Charts as SVG that takes its colours and its typeface from the page, so that one drawing serves light and dark."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Drawn in colours that stand for the page's variables, and named so in the SVG.
INK, MUTED, RULE = "#010101", "#020202", "#030303"
SERIES = tuple(f"#0400{number:02x}" for number in range(1, 7))
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)"} | {
    color: f"var(--series-{number})" for number, color in enumerate(SERIES, 1)
}
DASHES = (
    "-",
    (0, (5, 2)),
    (0, (1.5, 1.5)),
)  # besides the colour: for print, and for eyes that see few

SIZE_INCHES = (4.4, 2.5)  # narrow, so that its text stays legible on a telephone
_STYLE: Any = {  # matplotlib's own type lists every key
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "alexnet_jax",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


def line_style(run: int) -> dict[str, Any]:
    """Returns the colour and the dashes of the run of that number; 18 differ."""
    dashes = DASHES[run // len(SERIES) % len(DASHES)]
    return {"color": SERIES[run % len(SERIES)], "linestyle": dashes}


@contextmanager
def chart(height_inches: float = SIZE_INCHES[1]) -> Iterator[tuple[Figure, Axes]]:
    """Yields an empty chart in the page's style."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(SIZE_INCHES[0], height_inches), layout="constrained")
        yield figure, figure.subplots()


def to_svg(figure: Figure, name: str, alternative: str) -> str:
    """Returns a drawing as an ``svg`` element for a page.

    Args:
      figure: To draw.
      name: Unlike every other on the page; the ids begin with it.
      alternative: What it shows, for those who cannot see it.
    """
    file = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{name}-", svg)
    svg = re.sub("|".join(_VARIABLES), lambda match: _VARIABLES[match[0]], svg)
    svg = re.sub(r"(font: [\d.]+px) [^;\"]+", r"\1 var(--typeface)", svg)
    opening = f'<svg role="img" aria-label="{_escape(alternative)}" '
    head, rest = svg.removeprefix("<svg ").split(">", 1)
    head = re.sub(r'(width|height)="[\d.]+pt" ?', "", head)
    return f"{opening}{head}>{rest}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
