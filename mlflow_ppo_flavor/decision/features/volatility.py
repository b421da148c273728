"""Volatility: ATR, Bollinger bands, realised volatility, Parkinson.

ATR is seeded as TA-Lib seeds it, at the oldest bar of the lookback; its lookback is the shortest that is within 1e-6 of
the range of TA-Lib's values over the whole history, on daily bars with splits in them.
"""

from __future__ import annotations

import math

from mlflow_ppo_flavor.decision.features.feature import Feature
from mlflow_ppo_flavor.decision.features.window import (
    Bool,
    Float64,
    compiled,
    log_root_mean_square,
    ratio,
    spread,
    tail,
    true_range,
)

_ATR, _ATR_BARS = 14, 190
_BANDS, _PARKINSON = 20, 20
_REALISED = (5, 20, 60)


def _realised(period: int) -> Feature:
    text = (
        f"Realised volatility: root of the mean squared log return over {period} bars, per bar, clipped to 1 "
        "(Andersen and Bollerslev 1998)."
    )
    return Feature(
        f"realised_volatility_{period}", 1, lookback=period + 1, low=0.0, high=1.0, degenerate=0.0, description=text
    )


FEATURES = (
    Feature(
        "atr_14",
        1,
        lookback=_ATR_BARS,
        low=0.0,
        high=1.0,
        degenerate=0.0,
        description="Average true range: Wilder average of the true range over 14 / close, clipped to 1 (Wilder 1978).",
    ),
    Feature(
        "bollinger_width_20",
        1,
        lookback=_BANDS,
        low=0.0,
        high=2.0,
        degenerate=0.0,
        description=(
            "Bollinger bandwidth: 4 population standard deviations / mean of 20 closes, clipped to 2 (Bollinger 2001)."
        ),
    ),
    Feature(
        "bollinger_position_20",
        1,
        lookback=_BANDS,
        low=-0.625,
        high=1.625,
        degenerate=0.5,
        description=(
            "Bollinger %B: (close - lower band) / (upper band - lower band), bands 2 population standard deviations "
            "from the mean of 20 closes; beyond -0.59 and 1.59 for no bars; 0.5 without deviation (Bollinger 2001)."
        ),
    ),
    *(_realised(period) for period in _REALISED),
    Feature(
        "parkinson_20",
        1,
        lookback=_PARKINSON,
        low=0.0,
        high=1.0,
        degenerate=0.0,
        description=(
            "Parkinson volatility: root of the mean of ln(high / low)² over 20 bars / (4 ln 2), per bar, clipped to 1 "
            "(Parkinson 1980)."
        ),
    ),
)


@compiled
def average_true_range(high: Float64, low: Float64, close: Float64) -> float:
    """ATR at the windows' end, in units of price, seeded with the mean of the first 14 true ranges."""
    average = 0.0
    for i in range(1, len(close)):
        extent = true_range(high[i], low[i], close[i - 1])
        average += (extent if i <= _ATR else extent - average) / _ATR
    return average


@compiled
def fill_volatility(high: Float64, low: Float64, close: Float64, bar: int, wanted: Bool, out: Float64) -> None:
    """Write the wanted features of `bar` to `out`, in the order of FEATURES."""
    last = close[bar]
    if wanted[0]:
        average = average_true_range(tail(high, bar, _ATR_BARS), tail(low, bar, _ATR_BARS), tail(close, bar, _ATR_BARS))
        out[0] = average / last
    if wanted[1] or wanted[2]:
        offset, deviation = spread(tail(close, bar, _BANDS))
        out[1] = 4.0 * deviation / (last + offset)
        out[2] = 0.5 - ratio(offset, deviation, last) / 4.0
    for i in range(3):
        if wanted[3 + i]:
            period = _REALISED[i]
            out[3 + i] = log_root_mean_square(tail(close, bar, period), tail(close, bar - 1, period))
    if wanted[6]:
        extent = log_root_mean_square(tail(high, bar, _PARKINSON), tail(low, bar, _PARKINSON))
        out[6] = extent / math.sqrt(4.0 * math.log(2.0))
