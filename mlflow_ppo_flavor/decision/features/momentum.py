"""Momentum: RSI, stochastics, rate of change, CCI, Williams %R, money flow.

RSI is seeded as TA-Lib seeds it, at the oldest bar of the lookback; its lookbacks are the shortest that are within 1e-6
of the range of TA-Lib's values over the whole history, on daily bars with splits in them.
"""

from __future__ import annotations

import math

from mlflow_ppo_flavor.decision.features.feature import Feature
from mlflow_ppo_flavor.decision.features.window import (
    VANISHING,
    Bool,
    Float64,
    compiled,
    highest,
    lowest,
    mean,
    ratio,
    tail,
    typical_price,
)

_RSI = ((7, 120), (14, 230))
_RANGE, _SMOOTH = 14, 3
_ROC, _CCI, _MFI = 12, 20, 14


def _rsi(period: int, lookback: int) -> Feature:
    text = (
        f"Relative strength index: gain / (gain + loss), Wilder averages of closes' rises and falls over {period}, "
        "0 to 1; 0.5 when nothing moved (Wilder 1978)."
    )
    return Feature(f"rsi_{period}", 1, lookback=lookback, low=0.0, high=1.0, degenerate=0.5, description=text)


_K = (
    "mean of 3 values of (close - lowest low) / (highest high - lowest low) over 14 bars, each 0.5 where its range "
    "vanishes (Lane 1984)."
)
FEATURES = (
    *(_rsi(period, lookback) for period, lookback in _RSI),
    Feature(
        "stochastic_k_14",
        1,
        lookback=_RANGE + _SMOOTH - 1,
        low=0.0,
        high=1.0,
        degenerate=0.5,
        description=f"Slow %K: {_K}",
    ),
    Feature(
        "stochastic_d_14",
        1,
        lookback=_RANGE + 2 * _SMOOTH - 2,
        low=0.0,
        high=1.0,
        degenerate=0.5,
        description=f"Mean of 3 values of slow %K: {_K}",
    ),
    Feature(
        "roc_12",
        1,
        lookback=_ROC + 1,
        low=-1.0,
        high=1.0,
        degenerate=0.0,
        description="Rate of change: close / close 12 bars ago - 1, clipped to 1.",
    ),
    Feature(
        "cci_20",
        1,
        lookback=_CCI,
        low=-7.0,
        high=7.0,
        degenerate=0.0,
        description=(
            "Commodity channel index / 100: (typical price - its mean over 20) / (1.5 × its mean absolute deviation); "
            "beyond ±6.67 for no bars; 0 without deviation (Lambert 1980)."
        ),
    ),
    Feature(
        "williams_r_14",
        1,
        lookback=_RANGE,
        low=-1.0,
        high=0.0,
        degenerate=-0.5,
        description=(
            "Williams %R / 100: -(highest high - close) / (highest high - lowest low) over 14 bars; -0.5 without a "
            "range (Williams 1973)."
        ),
    ),
    Feature(
        "mfi_14",
        1,
        lookback=_MFI + 1,
        low=0.0,
        high=1.0,
        degenerate=0.5,
        description=(
            "Money flow index: typical price × volume of the bars whose typical price rose / that of all that rose or "
            "fell, over 14 bars, 0 to 1; 0.5 without flow (Quong and Soudack 1989)."
        ),
    ),
)


@compiled
def relative_strength(close: Float64, period: int) -> float:
    """RSI, 0 to 1, at the window's end, seeded with the means of the first `period` rises and falls."""
    gain, loss = 0.0, 0.0
    for i in range(1, len(close)):
        change = close[i] - close[i - 1]
        rise, fall = max(change, 0.0), max(-change, 0.0)
        if i > period:
            rise, fall = rise - gain, fall - loss
        gain += rise / period
        loss += fall / period
    return ratio(gain, gain + loss, close[-1])


@compiled
def close_within(high: Float64, low: Float64, close: float) -> float:
    """Where a close lies between the windows' lowest low, 0, and highest high, 1."""
    bottom = lowest(low)
    return ratio(close - bottom, highest(high) - bottom, close)


@compiled
def slow_stochastic(high: Float64, low: Float64, close: Float64, bar: int) -> float:
    """Slow %K of a bar, 0 to 1: the mean of its raw %K and the two before; a raw one without a range is 0.5."""
    total = 0.0
    for i in range(bar - _SMOOTH + 1, bar + 1):
        raw = close_within(tail(high, i, _RANGE), tail(low, i, _RANGE), close[i])
        total += 0.5 if math.isnan(raw) else raw
    return total / _SMOOTH


@compiled
def channel_index(high: Float64, low: Float64, close: Float64) -> float:
    """CCI / 100 at the windows' end; prices are taken from the last close on, which keeps small differences exact."""
    origin, count = close[-1], len(close)
    average, deviation = 0.0, 0.0
    for i in range(count):
        average += typical_price(high[i] - origin, low[i] - origin, close[i] - origin) / count
    for i in range(count):
        deviation += abs(typical_price(high[i] - origin, low[i] - origin, close[i] - origin) - average) / count
    return ratio(typical_price(high[-1] - origin, low[-1] - origin, 0.0) - average, deviation, origin) / 1.5


@compiled
def money_flow(high: Float64, low: Float64, close: Float64, volume: Float64) -> float:
    """MFI, 0 to 1, at the windows' end. A typical price that moved by less than 1e-9 neither rose nor fell."""
    rising, falling = 0.0, 0.0
    for i in range(1, len(close)):
        price = typical_price(high[i], low[i], close[i])
        change = typical_price(high[i] - high[i - 1], low[i] - low[i - 1], close[i] - close[i - 1])
        if change > VANISHING * price:
            rising += price * volume[i]
        elif change < -VANISHING * price:
            falling += price * volume[i]
    return ratio(rising, rising + falling, close[-1] * mean(volume))


@compiled
def fill_momentum(
    high: Float64, low: Float64, close: Float64, volume: Float64, bar: int, wanted: Bool, out: Float64
) -> None:
    """Write the wanted features of `bar` to `out`, in the order of FEATURES."""
    for i in range(2):
        if wanted[i]:
            period, lookback = _RSI[i]
            out[i] = relative_strength(tail(close, bar, lookback), period)
    if wanted[2]:
        out[2] = slow_stochastic(high, low, close, bar)
    if wanted[3]:
        out[3] = 0.0
        for i in range(bar - _SMOOTH + 1, bar + 1):
            out[3] += slow_stochastic(high, low, close, i) / _SMOOTH
    if wanted[4]:
        out[4] = close[bar] / close[bar - _ROC] - 1.0
    if wanted[5]:
        out[5] = channel_index(tail(high, bar, _CCI), tail(low, bar, _CCI), tail(close, bar, _CCI))
    if wanted[6]:
        out[6] = close_within(tail(high, bar, _RANGE), tail(low, bar, _RANGE), close[bar]) - 1.0
    if wanted[7]:
        count = _MFI + 1
        out[7] = money_flow(
            tail(high, bar, count), tail(low, bar, count), tail(close, bar, count), tail(volume, bar, count)
        )
