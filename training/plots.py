"""Pictures of a run: equity curves and action distributions, as matplotlib figures that the caller saves or logs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The Okabe-Ito colours, told apart by readers with any kind of colour vision (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", "-.", ":")


def equity_figure(time: npt.NDArray[np.int64], curves: Mapping[str, npt.NDArray[np.float64]], title: str) -> Figure:
    """Equity over time, each curve as percent of its own start.

    `time`: UTC nanoseconds, one a point; `curves`: {label: equity in account currency, as long as `time`}.
    """
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    axes = figure.subplots()
    days = time.astype("datetime64[ns]")
    for i, (label, equity) in enumerate(curves.items()):
        change = 100 * (equity / equity[0] - 1)
        style = STYLES[i // len(COLOURS) % len(STYLES)]
        axes.plot(days, change, style, color=COLOURS[i % len(COLOURS)], label=f"{label} ({change[-1]:+.1f} %)", lw=1.4)
    axes.axhline(0, color="0.6", lw=0.8)
    axes.set(title=title, ylabel="change of equity in %", xlabel="bar")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    return figure


def action_figure(counts: Mapping[str, Mapping[str, int]], title: str) -> Figure:
    """How often each action was chosen, a panel for each policy.

    `counts`: {label: {meaning: how often}}, meanings in the order of the spec's action table.
    """
    figure = Figure(figsize=(10, 1.2 + 0.42 * sum(len(c) for c in counts.values())), layout="constrained")
    heights = [len(chosen) + 1 for chosen in counts.values()]
    panels = np.atleast_1d(figure.subplots(len(counts), 1, height_ratios=heights))
    for panel, (label, chosen) in zip(panels, counts.items(), strict=True):
        _action_panel(panel, label, chosen)
    figure.suptitle(title)
    return figure


def _action_panel(axes: Axes, label: str, chosen: Mapping[str, int]) -> None:
    total = max(sum(chosen.values()), 1)
    bars = axes.barh(list(chosen), list(chosen.values()), color=COLOURS[0])
    shares = [f"{count} ({100 * count / total:.0f} %)" for count in chosen.values()]
    axes.bar_label(bars, shares, padding=3, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title(label, loc="left", fontsize=10)
