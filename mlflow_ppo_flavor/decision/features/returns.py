"""Log returns over several horizons."""

from __future__ import annotations

import math

from mlflow_ppo_flavor.decision.features.feature import Feature
from mlflow_ppo_flavor.decision.features.window import Bool, Float64, compiled, tail

_HORIZONS = (1, 2, 5, 10, 20, 60)
_LIMITS = (1.0, 1.0, 1.0, 1.0, 2.0, 2.0)


def _feature(horizon: int, limit: float) -> Feature:
    text = f"Log return over {horizon} bars: ln(close / close {horizon} bars ago), clipped to ±{limit:g}."
    return Feature(
        f"return_{horizon}", 1, lookback=horizon + 1, low=-limit, high=limit, degenerate=0.0, description=text
    )


FEATURES = tuple(_feature(horizon, limit) for horizon, limit in zip(_HORIZONS, _LIMITS, strict=True))


@compiled
def log_return(close: Float64) -> float:
    """ln(last / first) of a window."""
    return math.log(close[-1] / close[0])


@compiled
def fill_returns(close: Float64, bar: int, wanted: Bool, out: Float64) -> None:
    """Write the wanted features of `bar` to `out`, in the order of FEATURES."""
    for i in range(len(_HORIZONS)):
        if wanted[i]:
            out[i] = log_return(tail(close, bar, _HORIZONS[i] + 1))
