"""The bars on which features are digested: from integers by exact arithmetic, so that they never change.

No random generator: its stream may change with its version. Each price is a whole number divided once by a power of
ten, which IEEE 754 rounds the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_check import Columns
from mlflow_ppo_flavor.decision.bar_time import exchange_zone
from mlflow_ppo_flavor.decision.bars import Bars

FIRST_ROW = 512
"""Features are digested from this row on: enough bars before it for the longest lookback."""
N_ROWS = 8
_LENGTH = FIRST_ROW + N_ROWS
_NEW_YORK = "America/New_York"
_SPECS = {
    "1Day": BarSpec("1Day", "all", "regular", _NEW_YORK),
    "1Hour": BarSpec("1Hour", "split", "continuous", _NEW_YORK),
    "1Min": BarSpec("1Min", "raw", "continuous", _NEW_YORK),
}
_SECONDS = {"1Hour": 3600, "1Min": 60}
_FIRST_INTRADAY = 1_613_851_200  # 512 hours before 2021-03-14 04:00 UTC, the night when New York's clocks change


class Regime(NamedTuple):
    """A kind of market: close and volume of bar i as whole numbers, the largest wick, and the divisor of prices."""

    close: Callable[[int], int]
    volume: Callable[[int], int]
    wick: int = 120
    divisor: int = 100


def noise(i: int, salt: int, width: int) -> int:
    """A whole number in [0, width) that looks arbitrary: a quadratic residue, the same for ever."""
    return (7919 * i * i + (104_729 + 613 * salt) * i + 12_345 * (salt + 1)) % 10_007 % width


def _wave(i: int) -> int:
    return 10_000 + 25 * abs(i % 120 - 60) + 9 * abs(7 * i % 61 - 30) + noise(i, 1, 101)


def _busy(i: int) -> int:
    return 50_000 + 700 * abs(i % 23 - 11) + noise(i, 2, 40_000)


def _split(i: int) -> int:
    """One in ten at bar 400, two for one at bar 506: within the lookbacks, unadjusted."""
    return _wave(i) * (1 if i < 400 else 10) // (1 if i < 506 else 2)


REGIMES: Mapping[str, Regime] = MappingProxyType(
    {
        "rising": Regime(lambda i: 5_000 + 11 * i + noise(i, 3, 151), _busy),
        "falling": Regime(lambda i: 20_000 - 17 * i + noise(i, 4, 151), _busy),
        "waves": Regime(_wave, _busy),
        "stairs": Regime(lambda i: 10_000 + 50 * (i // 40 % 5), lambda i: 1_000 * (i // 25 % 3), wick=1),
        "flat": Regime(lambda _: 10_000, lambda _: 1_000, wick=1),
        "no volume": Regime(_wave, lambda _: 0),
        "thin": Regime(_wave, lambda i: noise(i, 5, 3) * (i % 3 == 0), wick=400),
        "spikes": Regime(
            lambda i: _wave(i) * (5 if i % 103 == 97 else 1), lambda i: _busy(i) * (1 + 40 * (i % 7 == 3))
        ),
        "splits": Regime(_split, _busy, wick=60),
        "pennies": Regime(_wave, lambda i: 10**9 + _busy(i), divisor=10**8),
    }
)


@cache
def fixed_bars() -> Mapping[str, Bars]:
    """{`1Day flat`: its bars} for each timeframe and regime: 520 bars each, checked as all bars are."""
    return MappingProxyType(
        {
            f"{timeframe} {name}": _build(timeframe, place, regime)
            for timeframe in _SPECS
            for place, (name, regime) in enumerate(REGIMES.items())
        }
    )


def _build(timeframe: str, place: int, regime: Regime) -> Bars:
    close = [regime.close(i) for i in range(-1, _LENGTH)]
    rows = []
    for i in range(_LENGTH):
        opened, closed = close[i] + noise(i, 6, regime.wick) // 2, close[i + 1]
        high, low = max(opened, closed) + noise(i, 7, regime.wick), min(opened, closed) - noise(i, 8, regime.wick)
        rows.append([opened / regime.divisor, high / regime.divisor, low / regime.divisor, closed / regime.divisor])
    opens, highs, lows, closes = np.array(rows, dtype=np.float64).T
    volume = np.array([regime.volume(i) for i in range(_LENGTH)], dtype=np.float64)
    time = np.array(_starts(timeframe, place), dtype=np.int64) * 1_000_000_000
    return Bars.from_columns(Columns(time, opens, highs, lows, closes, volume), symbol="FIXED", spec=_SPECS[timeframe])


def _starts(timeframe: str, place: int) -> list[int]:
    """The bars' starts in seconds since 1970: weekdays, or one hour or minute after the other, day and night."""
    if timeframe == "1Day":
        days = (date.fromordinal(n) for n in range(date(2015, 1, 1).toordinal() + 47 * place, date.max.toordinal()))
        weekdays = (day for day in days if day.weekday() < 5)
        zone = exchange_zone(_NEW_YORK)
        starts = (datetime(day.year, day.month, day.day, tzinfo=zone) for day in weekdays)
        return [int(start.timestamp()) for _, start in zip(range(_LENGTH), starts, strict=False)]
    first, step = _FIRST_INTRADAY + 4_000 * 60 * place, _SECONDS[timeframe]
    return [first - first % step + step * i for i in range(_LENGTH)]
