"""How fast features are: the whole table, one new bar, and a process's first row. Run: python -m benchmarks.features

Each measurement alternates with TA-Lib computing those of the features that it has over the same bars. TA-Lib keeps
running sums over the whole table: that is why it is faster there, and why its values depend on the bar one starts at.
The least of many rounds counts, since what else a machine does only adds. The limits are twice what a first trial took.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from mlflow_ppo_flavor.decision.features import FEATURES, compute_features, lookback_of
from tests.decision.features.markets import random_walk
from tests.decision.features.oracle import talib_values

ALL = tuple(FEATURES)
ROWS = 20_000
TABLE_LIMIT_SECONDS = 0.90
BAR_LIMIT_MICROSECONDS = 48.0
FIRST_ROW = """
import time
begin = time.perf_counter()
import numpy as np
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features import FEATURES, compute_features
imported = time.perf_counter()
prices = np.linspace(100, 101, 300)
bars = Bars("X", BarSpec("1Min", "raw"), np.arange(300) * 60_000_000_000, prices, prices, prices, prices, prices)
begun = time.perf_counter()
compute_features(bars, tuple(FEATURES))
print(imported - begin, time.perf_counter() - begun)
"""


@dataclass(frozen=True)
class Pair:
    """Least seconds of one call: ours, and TA-Lib's on the same bars."""

    ours: float
    talib: float

    @property
    def ratio(self) -> float:
        """Ours / TA-Lib's."""
        return self.ours / self.talib


def time_table(rounds: int = 9) -> Pair:
    """20,000 rows × 53 features in one call."""
    bars = random_walk(ROWS + lookback_of(ALL) - 1)
    return _paired(lambda: compute_features(bars, ALL), lambda: talib_values(bars), rounds, calls=1)


def time_one_bar(rounds: int = 25) -> Pair:
    """The 53 features of one new bar at the end of 512: the whole Python call."""
    bars = random_walk(512)
    last = len(bars) - 1
    return _paired(lambda: compute_features(bars, ALL, start=last), lambda: talib_values(bars), rounds, calls=200)


def time_overhead(rounds: int = 25) -> float:
    """Seconds of that call that aren't the loop: the same call for the cheapest feature alone, calendar included."""
    bars = random_walk(512)
    last = len(bars) - 1
    return _paired(lambda: compute_features(bars, ALL[:1], start=last), lambda: None, rounds, calls=200).ours


def time_first_row() -> tuple[float, float]:
    """Seconds of a new process, compiled code on disk: importing, then its first row."""
    process = [sys.executable, "-c", FIRST_ROW]
    figures = [subprocess.run(process, capture_output=True, text=True, check=True).stdout.split() for _ in range(5)]
    imported, computed = (min(float(row[i]) for row in figures) for i in (0, 1))
    return imported, computed


def _paired(ours: Callable[[], object], talib: Callable[[], object], rounds: int, calls: int) -> Pair:
    """Least seconds of a call of each, measured by turns after a warm-up."""
    ours(), talib()
    timed = [(_seconds(ours, calls), _seconds(talib, calls)) for _ in range(rounds)]
    return Pair(*(min(column) for column in zip(*timed, strict=True)))


def _seconds(call: Callable[[], object], calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begin) / calls


def main() -> None:
    """Print every figure."""
    table, bar = time_table(), time_one_bar()
    imported, computed = time_first_row()
    print(f"{ROWS:,} bars × {len(ALL)} features, lookback {lookback_of(ALL)}:")
    print(f"  {table.ours:8.3f} s   {table.ratio:6.2f} × TA-Lib ({table.talib:.3f} s)   limit {TABLE_LIMIT_SECONDS} s")
    print(f"one new bar × {len(ALL)} features, the whole call:")
    talib = f"{bar.ratio:6.2f} × TA-Lib ({bar.talib * 1e6:.0f} µs)"
    print(f"  {bar.ours * 1e6:8.1f} µs  {talib}   limit {BAR_LIMIT_MICROSECONDS} µs")
    print(f"  {time_overhead() * 1e6:8.1f} µs  of it outside the indicators")
    print("a new process, compiled code on disk:")
    print(f"  {imported:8.2f} s   imports")
    print(f"  {computed:8.2f} s   first row")


if __name__ == "__main__":
    main()
