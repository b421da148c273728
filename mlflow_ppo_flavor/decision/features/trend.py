"""Trend: distances from moving averages, MACD, directional movement.

Recursive averages are seeded as TA-Lib seeds them, at the oldest bar of the lookback. The lookbacks are the shortest
that are within 1e-6 of the range of TA-Lib's values over the whole history, on daily bars with splits in them.
"""

from __future__ import annotations

from mlflow_ppo_flavor.decision.features.feature import Feature
from mlflow_ppo_flavor.decision.features.window import (
    VANISHING,
    Bool,
    Float64,
    compiled,
    distance,
    mean_offset,
    ratio,
    tail,
    true_range,
)

_SIMPLE = (10, 20, 50, 200)
_EXPONENTIAL = ((12, 90), (26, 190))
_FAST, _SLOW, _SIGNAL, _MACD_BARS = 12, 26, 9, 210
_WILDER, _DI_BARS, _ADX_BARS = 14, 220, 260


def _simple(period: int) -> Feature:
    text = f"close / simple moving average of {period} closes - 1, clipped to ±1."
    return Feature(f"sma_distance_{period}", 1, lookback=period, low=-1.0, high=1.0, degenerate=0.0, description=text)


def _exponential(period: int, lookback: int) -> Feature:
    text = (
        f"close / exponential moving average - 1, weight 2 / {period + 1}, seeded with the mean of the lookback's "
        f"first {period} closes; clipped to ±1."
    )
    return Feature(f"ema_distance_{period}", 1, lookback=lookback, low=-1.0, high=1.0, degenerate=0.0, description=text)


def _macd(name: str, formula: str) -> Feature:
    return Feature(
        name,
        1,
        lookback=_MACD_BARS,
        low=-0.5,
        high=0.5,
        degenerate=0.0,
        description=f"{formula} / close, clipped to ±0.5 (Appel 1979).",
    )


def _directional(name: str, lookback: int, formula: str) -> Feature:
    return Feature(
        name,
        1,
        lookback=lookback,
        low=0.0,
        high=1.0,
        degenerate=0.0,
        description=f"{formula}, 0 to 1; 0 without movement (Wilder 1978).",
    )


FEATURES = (
    *(_simple(period) for period in _SIMPLE),
    *(_exponential(period, lookback) for period, lookback in _EXPONENTIAL),
    _macd("macd_12_26", "MACD: (EMA 12 - EMA 26 of the close)"),
    _macd("macd_signal_9", "MACD's signal line: EMA 9 of (EMA 12 - EMA 26 of the close)"),
    _macd("macd_histogram", "MACD less its signal line"),
    _directional("adx_14", _ADX_BARS, "Average directional index: Wilder average over 14 of |+DI - -DI| / (+DI + -DI)"),
    _directional("plus_di_14", _DI_BARS, "+DI: Wilder sum over 14 of upward movement / that of the true range"),
    _directional("minus_di_14", _DI_BARS, "-DI: Wilder sum over 14 of downward movement / that of the true range"),
)


@compiled
def exponential_offset(window: Float64, period: int) -> float:
    """Exponential moving average at the window's end, less the last value; seeded with its first `period`."""
    last, offset = window[-1], 0.0
    for value in window[:period]:
        offset += (value - last) / period
    for value in window[period:]:
        offset += 2.0 / (period + 1) * (value - last - offset)
    return offset


@compiled
def macd(close: Float64) -> tuple[float, float]:
    """MACD and its signal line at the window's end, in units of price.

    Both averages start at the bar where the slow one is seeded; the signal is seeded with the first 9 MACD values.
    """
    last, slow, fast = close[-1], 0.0, 0.0
    for i in range(_SLOW):
        slow += (close[i] - last) / _SLOW
        if i >= _SLOW - _FAST:
            fast += (close[i] - last) / _FAST
    difference = fast - slow
    signal = difference / _SIGNAL
    for i in range(_SLOW, len(close)):
        fast += 2.0 / (_FAST + 1) * (close[i] - last - fast)
        slow += 2.0 / (_SLOW + 1) * (close[i] - last - slow)
        difference = fast - slow
        if i < _SLOW + _SIGNAL - 1:
            signal += difference / _SIGNAL
        else:
            signal += 2.0 / (_SIGNAL + 1) * (difference - signal)
    return difference, signal


@compiled
def movement(high: Float64, low: Float64, i: int) -> tuple[float, float]:
    """Upward and downward movement of bar i: the larger of the two extensions, the other 0; both 0 on a tie.

    Extensions of equal ticks differ by rounding, so a tie is a difference below 1e-9 of the price.
    """
    up, down = high[i] - high[i - 1], low[i - 1] - low[i]
    least = VANISHING * high[i]
    if up > least and up - down > least:
        return up, 0.0
    if down > least and down - up > least:
        return 0.0, down
    return 0.0, 0.0


@compiled
def directional(high: Float64, low: Float64, close: Float64) -> tuple[float, float, float]:
    """+DI, -DI and ADX at the windows' end, each 0 to 1.

    Sums start with the first 13 movements, ADX with the mean of the next 14 values of DX. DX without movement counts as
    0 in that mean and leaves a later ADX as it was.
    """
    plus, minus, total, index = 0.0, 0.0, 0.0, 0.0
    for i in range(1, len(close)):
        up, down = movement(high, low, i)
        kept = 1.0 if i < _WILDER else 1.0 - 1.0 / _WILDER
        plus = plus * kept + up
        minus = minus * kept + down
        total = total * kept + true_range(high[i], low[i], close[i - 1])
        if i >= _WILDER and plus + minus > VANISHING * close[i]:
            difference = abs(plus - minus) / (plus + minus)
            index += (difference if i < 2 * _WILDER else difference - index) / _WILDER
    return ratio(plus, total, close[-1]), ratio(minus, total, close[-1]), index


@compiled
def fill_trend(high: Float64, low: Float64, close: Float64, bar: int, wanted: Bool, out: Float64) -> None:
    """Write the wanted features of `bar` to `out`, in the order of FEATURES."""
    last = close[bar]
    for i in range(4):
        if wanted[i]:
            out[i] = distance(last, mean_offset(tail(close, bar, _SIMPLE[i])))
    for i in range(2):
        if wanted[4 + i]:
            period, lookback = _EXPONENTIAL[i]
            out[4 + i] = distance(last, exponential_offset(tail(close, bar, lookback), period))
    if wanted[6] or wanted[7] or wanted[8]:
        difference, signal = macd(tail(close, bar, _MACD_BARS))
        out[6], out[7], out[8] = difference / last, signal / last, (difference - signal) / last
    if wanted[9]:
        _, _, out[9] = directional(tail(high, bar, _ADX_BARS), tail(low, bar, _ADX_BARS), tail(close, bar, _ADX_BARS))
    if wanted[10] or wanted[11]:
        out[10], out[11], _ = directional(
            tail(high, bar, _DI_BARS), tail(low, bar, _DI_BARS), tail(close, bar, _DI_BARS)
        )
