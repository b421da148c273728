"""The exchange's calendar: hour, weekday and month of a bar's start, as points on a circle."""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np
import numpy.typing as npt

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_time import exchange_zone
from mlflow_ppo_flavor.decision.features.feature import Feature
from mlflow_ppo_flavor.decision.features.window import Float64, compiled

Int64 = npt.NDArray[np.int64]
_NO_HOUR = -1
_MINUTES, _WEEKDAYS, _MONTHS = 1440, 7, 12


def _circle(name: str, angle: str) -> tuple[Feature, Feature]:
    where = "of the bar's start in the exchange's zone"
    return (
        Feature(
            f"{name}_sin", 1, lookback=1, low=-1.0, high=1.0, degenerate=0.0, description=f"sin(2π × {angle}) {where}."
        ),
        Feature(
            f"{name}_cos", 1, lookback=1, low=-1.0, high=1.0, degenerate=0.0, description=f"cos(2π × {angle}) {where}."
        ),
    )


FEATURES = (
    *_circle("hour", "minute of the day / 1440, 0 on daily bars,"),
    *_circle("weekday", "weekday / 7, Monday 0,"),
    *_circle("month", "(month - 1) / 12"),
)


def local_clock(time: Int64, spec: BarSpec) -> Int64:
    """Minute of the day (-1 on daily bars), weekday and month less 1 of bar starts (UTC nanoseconds): int64[n, 3].

    Bar by bar, so that one new bar costs a microsecond and has the value that the whole table gives it.
    """
    zone, daily = exchange_zone(spec.time_zone), spec.timeframe == "1Day"
    clock = np.empty((len(time), 3), dtype=np.int64)
    for row, second in enumerate((time // 1_000_000_000).tolist()):
        local = datetime.fromtimestamp(second, zone)
        minute = _NO_HOUR if daily else local.hour * 60 + local.minute
        clock[row] = minute, local.weekday(), local.month - 1
    return clock


@compiled
def fill_circle(place: int, places: int, out: Float64) -> None:
    """Write sine and cosine of place / places of a turn."""
    angle = 2.0 * math.pi * place / places
    out[0], out[1] = math.sin(angle), math.cos(angle)


@compiled
def fill_calendar(clock: Int64, out: Float64) -> None:
    """Write all features of the bar whose `local_clock` is int64[3] to `out`, in the order of FEATURES."""
    if clock[0] == _NO_HOUR:
        out[:2] = 0.0
    else:
        fill_circle(clock[0], _MINUTES, out[:2])
    fill_circle(clock[1], _WEEKDAYS, out[2:4])
    fill_circle(clock[2], _MONTHS, out[4:6])
