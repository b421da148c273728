"""The shape of the bar itself, and the gap before it."""

from __future__ import annotations

import math

from mlflow_ppo_flavor.decision.features.feature import Feature
from mlflow_ppo_flavor.decision.features.window import Bool, Float64, compiled, ratio, tail

_GAPS = 20

FEATURES = (
    Feature(
        "body",
        1,
        lookback=1,
        low=-1.0,
        high=1.0,
        degenerate=0.0,
        description="Candle body: (close - open) / (high - low); 0 without a range (Nison 1991).",
    ),
    Feature(
        "upper_shadow",
        1,
        lookback=1,
        low=0.0,
        high=1.0,
        degenerate=0.0,
        description="(high - max(open, close)) / (high - low); 0 without a range (Nison 1991).",
    ),
    Feature(
        "lower_shadow",
        1,
        lookback=1,
        low=0.0,
        high=1.0,
        degenerate=0.0,
        description="(min(open, close) - low) / (high - low); 0 without a range (Nison 1991).",
    ),
    Feature(
        "close_location",
        1,
        lookback=1,
        low=0.0,
        high=1.0,
        degenerate=0.5,
        description="(close - low) / (high - low); 0.5 without a range (Chaikin).",
    ),
    Feature(
        "range_pct", 1, lookback=1, low=0.0, high=1.0, degenerate=0.0, description="(high - low) / close, clipped to 1."
    ),
    Feature(
        "gap_1",
        1,
        lookback=2,
        low=-1.0,
        high=1.0,
        degenerate=0.0,
        description="Opening gap: ln(open / previous close), clipped to ±1.",
    ),
    Feature(
        "gap_mean_abs_20",
        1,
        lookback=_GAPS + 1,
        low=0.0,
        high=1.0,
        degenerate=0.0,
        description="Mean of |ln(open / previous close)| over 20 bars, clipped to 1.",
    ),
)


@compiled
def mean_absolute_gap(open_: Float64, previous_close: Float64) -> float:
    """Mean |ln(open / previous close)| of two windows of equal length."""
    total = 0.0
    for i in range(len(open_)):
        total += abs(math.log(open_[i] / previous_close[i]))
    return total / len(open_)


@compiled
def fill_candle(
    open_: Float64, high: Float64, low: Float64, close: Float64, bar: int, wanted: Bool, out: Float64
) -> None:
    """Write the wanted features of `bar` to `out`, in the order of FEATURES."""
    first, top, bottom, last = open_[bar], high[bar], low[bar], close[bar]
    extent = top - bottom
    out[0] = ratio(last - first, extent, last)
    out[1] = ratio(top - max(first, last), extent, last)
    out[2] = ratio(min(first, last) - bottom, extent, last)
    out[3] = ratio(last - bottom, extent, last)
    out[4] = extent / last
    if wanted[5]:
        out[5] = math.log(first / close[bar - 1])
    if wanted[6]:
        out[6] = mean_absolute_gap(tail(open_, bar, _GAPS), tail(close, bar - 1, _GAPS))
