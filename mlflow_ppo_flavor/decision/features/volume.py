"""Volume: how unusual it is, which way it flows, what it paid on average."""

from __future__ import annotations

from mlflow_ppo_flavor.decision.features.feature import Feature
from mlflow_ppo_flavor.decision.features.window import (
    VANISHING,
    Bool,
    Float64,
    compiled,
    distance,
    mean,
    ratio,
    spread,
    tail,
    typical_price,
)

_PERIOD = 20

FEATURES = (
    Feature(
        "volume_z_20",
        1,
        lookback=_PERIOD,
        low=-4.5,
        high=4.5,
        degenerate=0.0,
        description=(
            "(volume - its mean) / its population standard deviation, over 20 bars; beyond ±4.36 for no bars; 0 "
            "without deviation."
        ),
    ),
    Feature(
        "obv_slope_20",
        1,
        lookback=_PERIOD + 1,
        low=-1.5,
        high=1.5,
        degenerate=0.0,
        description=(
            "Least-squares slope per bar of on-balance volume over 20 changes (21 points) / mean volume of those 20 "
            "bars; beyond ±1.43 for no bars; 0 without volume (Granville 1963)."
        ),
    ),
    Feature(
        "vwap_distance_20",
        1,
        lookback=_PERIOD,
        low=-1.0,
        high=1.0,
        degenerate=0.0,
        description=(
            "close / volume-weighted average of the typical price over 20 bars - 1, clipped to ±1; 0 without volume "
            "(Berkowitz, Logue and Noser 1988)."
        ),
    ),
)


@compiled
def balance_slope(close: Float64, volume: Float64) -> float:
    """Least-squares slope of on-balance volume at the windows' end / mean volume.

    `volume` is one bar shorter: the first close only says where the next came from. A close that moved by less than
    1e-9 of itself neither rose nor fell.
    """
    count = len(close)
    balance, products, squares = 0.0, 0.0, 0.0
    for i in range(count):
        if i > 0:
            change, least = close[i] - close[i - 1], VANISHING * close[i]
            if change > least:
                balance += volume[i - 1]
            elif change < -least:
                balance -= volume[i - 1]
        place = i - (count - 1) / 2.0
        products += place * balance
        squares += place * place
    return products / squares / mean(volume)


@compiled
def weighted_offset(high: Float64, low: Float64, close: Float64, volume: Float64) -> float:
    """Average typical price of the windows, weighted by volume, less the last close; NaN without volume."""
    last, paid, traded = close[-1], 0.0, 0.0
    for i in range(len(close)):
        paid += typical_price(high[i] - last, low[i] - last, close[i] - last) * volume[i]
        traded += volume[i]
    return paid / traded


@compiled
def fill_volume(
    high: Float64, low: Float64, close: Float64, volume: Float64, bar: int, wanted: Bool, out: Float64
) -> None:
    """Write the wanted features of `bar` to `out`, in the order of FEATURES."""
    recent = tail(volume, bar, _PERIOD)
    if wanted[0]:
        offset, deviation = spread(recent)
        out[0] = ratio(-offset, deviation, recent[-1] + offset)
    if wanted[1]:
        out[1] = balance_slope(tail(close, bar, _PERIOD + 1), recent)
    if wanted[2]:
        offset = weighted_offset(tail(high, bar, _PERIOD), tail(low, bar, _PERIOD), tail(close, bar, _PERIOD), recent)
        out[2] = distance(close[bar], offset)
