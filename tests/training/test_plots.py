"""Pictures: what they show is what they were given."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from training.plots import action_figure, equity_figure

DAY = 86_400_000_000_000


def png_size(figure: Figure) -> int:
    sink = io.BytesIO()
    figure.savefig(sink)
    assert sink.getvalue().startswith(b"\x89PNG")
    return sink.tell()


def test_equity_is_shown_as_change_since_the_start() -> None:
    time = np.arange(4) * DAY
    curves = {"policy": np.array([100.0, 110.0, 90.0, 120.0]), "hold": np.array([50.0, 50.0, 50.0, 25.0])}
    figure = equity_figure(time, curves, "two curves")
    (axes,) = figure.axes
    assert axes.get_title() == "two curves"
    lines = axes.get_lines()
    assert lines[0].get_ydata() == pytest.approx([0.0, 10.0, -10.0, 20.0])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["policy (+20.0 %)", "hold (-50.0 %)"]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines[:2]}) == 2
    assert png_size(figure) > 5_000


def test_more_curves_than_colours_differ_in_their_lines() -> None:
    curves = {str(i): np.array([1.0, 1.0 + i]) for i in range(12)}
    lines = equity_figure(np.arange(2) * DAY, curves, "").axes[0].get_lines()[:12]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 12


def test_actions_are_counted_in_the_specs_order() -> None:
    counts = {"2.6.0": {"HOLD": 3, "BUY": 1, "SELL": 0}, "2.7.0": {"HOLD": 0, "BUY_25%": 0}}
    figure = action_figure(counts, "actions")
    first, second = figure.axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["HOLD", "BUY", "SELL"]
    assert [text.get_text() for text in first.texts] == ["3 (75 %)", "1 (25 %)", "0 (0 %)"]
    assert [text.get_text() for text in second.texts] == ["0 (0 %)", "0 (0 %)"]
    assert png_size(figure) > 5_000
