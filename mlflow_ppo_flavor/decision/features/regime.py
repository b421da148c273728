"""Regime probabilities: a softmax of fixed functions of a trend t-statistic and a volatility ratio.

Nothing is fitted and nothing is remembered. Over 60 log returns, t = mean / (sample standard deviation / √60) and
v = realised volatility of the last 20 / that of all 60. The scores: up t, down -t, range 1, volatile 4 ln v. So no
trend at steady volatility is a range; |t| of 2 (a trend that chance brings one time in twenty) beats it, and so does
volatility that is 1.3 times what it was.
"""

from __future__ import annotations

import math

from mlflow_ppo_flavor.decision.features.feature import Feature
from mlflow_ppo_flavor.decision.features.window import (
    UNDEFINED,
    VANISHING,
    Bool,
    Float64,
    compiled,
    log_root_mean_square,
    tail,
)

_TREND, _RECENT = 60, 20
_RANGE_SCORE, _VOLATILITY_POWER = 1.0, 4.0
_WHOLE = 3.0 + math.exp(_RANGE_SCORE)


def _feature(name: str, score: str, weight: float) -> Feature:
    text = (
        f"Share of exp({score}) in exp(t) + exp(-t) + e + exp(4 ln v), t the t-statistic of 60 log returns' mean, v "
        "their root mean square over the last 20 / over all; as for t = 0, v = 1 where the returns don't differ."
    )
    return Feature(
        f"regime_{name}", 1, lookback=_TREND + 1, low=0.0, high=1.0, degenerate=weight / _WHOLE, description=text
    )


FEATURES = (
    _feature("up", "t", 1.0),
    _feature("down", "-t", 1.0),
    _feature("range", "1", math.exp(_RANGE_SCORE)),
    _feature("volatile", "4 ln v", 1.0),
)


@compiled
def trend_statistic(close: Float64) -> float:
    """t-statistic of the mean log return of a window; undefined where their standard deviation is at most 1e-9."""
    count = len(close) - 1
    average = math.log(close[-1] / close[0]) / count
    squares = 0.0
    for i in range(count):
        squares += (math.log(close[i + 1] / close[i]) - average) ** 2
    deviation = math.sqrt(squares / (count - 1))
    if deviation <= VANISHING:
        return UNDEFINED
    return average / (deviation / math.sqrt(count))


@compiled
def fill_regime(close: Float64, bar: int, wanted: Bool, out: Float64) -> None:
    """Write all features of `bar` to `out` if one is wanted, in the order of FEATURES."""
    if not wanted.any():
        return
    trend = trend_statistic(tail(close, bar, _TREND + 1))
    recent = log_root_mean_square(tail(close, bar, _RECENT), tail(close, bar - 1, _RECENT))
    usual = log_root_mean_square(tail(close, bar, _TREND), tail(close, bar - 1, _TREND))
    out[0], out[1], out[2] = trend, -trend, _RANGE_SCORE
    out[3] = _VOLATILITY_POWER * math.log(recent / usual)
    top, total = out.max(), 0.0
    for i in range(4):
        out[i] = math.exp(out[i] - top)
        total += out[i]
    for i in range(4):
        out[i] /= total
