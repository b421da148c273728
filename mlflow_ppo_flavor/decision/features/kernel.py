"""The one compiled loop over bars: a vectorised call and a single new bar run the same machine code.

Each bar's windows are computed afresh, so a value depends on nothing but its own window. No fast-math, no threads: the
compiler keeps the order of every operation.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from numba import njit

from mlflow_ppo_flavor.decision.features import (
    calendar,
    candle,
    momentum,
    regime,
    returns,
    trend,
    volatility,
    volume,
)
from mlflow_ppo_flavor.decision.features.calendar import Int64, fill_calendar
from mlflow_ppo_flavor.decision.features.candle import fill_candle
from mlflow_ppo_flavor.decision.features.momentum import fill_momentum
from mlflow_ppo_flavor.decision.features.regime import fill_regime
from mlflow_ppo_flavor.decision.features.returns import fill_returns
from mlflow_ppo_flavor.decision.features.trend import fill_trend
from mlflow_ppo_flavor.decision.features.volatility import fill_volatility
from mlflow_ppo_flavor.decision.features.volume import fill_volume
from mlflow_ppo_flavor.decision.features.window import Bool, Float64, compiled

Float32 = npt.NDArray[np.float32]
Kernel = Callable[..., None]

_LOG = logging.getLogger(__name__)
_FAMILIES = (returns, candle, trend, momentum, volatility, volume, regime, calendar)
FEATURES_IN_ORDER = tuple(feature for family in _FAMILIES for feature in family.FEATURES)
_COUNT = len(FEATURES_IN_ORDER)
_CANDLE = len(returns.FEATURES)
_TREND = _CANDLE + len(candle.FEATURES)
_MOMENTUM = _TREND + len(trend.FEATURES)
_VOLATILITY = _MOMENTUM + len(momentum.FEATURES)
_VOLUME = _VOLATILITY + len(volatility.FEATURES)
_REGIME = _VOLUME + len(volume.FEATURES)
_CALENDAR = _REGIME + len(regime.FEATURES)


@compiled
def bounded(value: float, low: float, high: float, degenerate: float) -> float:
    """The value within its range; the declared one where it is undefined."""
    if np.isnan(value):
        return degenerate
    return min(max(value, low), high)


def sources_digest(folder: Path) -> str:
    """sha256 over the names and bytes of a folder's Python files."""
    sha = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        sha.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


def fill_rows(
    open_: Float64,
    high: Float64,
    low: Float64,
    close: Float64,
    volume: Float64,
    clock: Int64,
    first: int,
    wanted: Bool,
    columns: Int64,
    ranges: Float64,
    out: Float32,
) -> None:
    """Fill out[i, j], C-contiguous float32[rows, k], with feature columns[j] of bar first + i.

    The bars' columns float64[n]; clock int64[rows, 3]; wanted bool[53]; columns int64[k]; ranges float64[53, 3]: low,
    high and degenerate of every feature. Nothing is checked: `first` must leave every wanted feature its lookback.
    """
    values = np.zeros(_COUNT)
    for row in range(len(out)):
        bar = first + row
        fill_returns(close, bar, wanted[:_CANDLE], values[:_CANDLE])
        fill_candle(open_, high, low, close, bar, wanted[_CANDLE:_TREND], values[_CANDLE:_TREND])
        fill_trend(high, low, close, bar, wanted[_TREND:_MOMENTUM], values[_TREND:_MOMENTUM])
        fill_momentum(high, low, close, volume, bar, wanted[_MOMENTUM:_VOLATILITY], values[_MOMENTUM:_VOLATILITY])
        fill_volatility(high, low, close, bar, wanted[_VOLATILITY:_VOLUME], values[_VOLATILITY:_VOLUME])
        fill_volume(high, low, close, volume, bar, wanted[_VOLUME:_REGIME], values[_VOLUME:_REGIME])
        fill_regime(close, bar, wanted[_REGIME:_CALENDAR], values[_REGIME:_CALENDAR])
        fill_calendar(clock[row], values[_CALENDAR:])
        for j in range(len(columns)):
            feature = columns[j]
            lowest, highest, degenerate = ranges[feature]
            out[row, j] = np.float32(bounded(values[feature], lowest, highest, degenerate))


def build_kernel(function: Kernel, folder: Path) -> Kernel:
    """`function`, compiled when first called, or read from numba's cache on disk if these sources were compiled before.

    numba names a cached file after the function and notices changes in the function's own file alone, but the stored
    code holds all indicators of `folder`. So the function's name carries a digest of all their sources: code of other
    sources is never taken, whatever was interrupted while it was stored. Where no folder can be cached in, the function
    is compiled in every process, and a warning tells what to do.
    """
    function.__qualname__ = f"{function.__name__}_{sources_digest(folder)[:16]}"
    try:
        return cast("Kernel", njit(cache=True, error_model="numpy")(function))
    except RuntimeError as error:
        _LOG.warning("features are compiled anew in every process (seconds): %s: set NUMBA_CACHE_DIR", error)
        return cast("Kernel", njit(error_model="numpy")(function))


KERNEL = build_kernel(fill_rows, Path(__file__).parent)
