import re
from pathlib import Path

import pytest

from alexnet_jax.report.curves import draw_curves
from alexnet_jax.report.records import Run


def _ticks(metric: str, values: list[float]) -> list[str]:
    """Returns what stands beside the vertical axis of a run's chart."""
    records = [{"split": "eval", "epoch": i, metric: value} for i, value in enumerate(values)]
    (chart,) = draw_curves([Run("run", Path("run"), {}, records, [], None)])
    (axis,) = re.findall(r'<g id="\w+-matplotlib.axis_2">(.*?)\n   </g>', chart.svg, re.DOTALL)
    return re.findall(r"<text[^>]*>([^<]+)</text>", axis)


def test_close_values_have_ticks_that_differ():
    ticks = _ticks("loss", [1.0986, 1.1012, 1.0998])
    assert len(ticks) >= 3
    assert len(set(ticks)) == len(ticks)


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
def test_an_accuracy_is_from_0_to_100_percent(values):
    numbers = [float(tick.removesuffix(" %")) for tick in _ticks("top1", values)]
    assert len(numbers) >= 3
    assert 0 <= min(numbers) < max(numbers) <= 100
