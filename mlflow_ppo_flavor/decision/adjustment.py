"""Adjustment of raw bars for splits and dividends, from the source's own adjusted close.

The adjustment factor of a bar is Adj Close / Close. Between two neighbouring bars it steps by a dividend (by
1 / (1 - dividend / close): a few percent) or by a split (2 for a 2:1 split, 0.1 for a 1:10 reverse split). A step of
1.5 or more, or of 1/1.5 or less, is a split; the step is rounded to the nearest usual split ratio, which takes a
dividend of the same day out of it. 1 % is allowed below 1.5, since rounded prices may show a 3:2 split as 1.4999.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_check import (
    PRICES,
    Columns,
    Float64,
    as_faults,
    column_faults,
    number_reasons,
    read_columns,
    read_numbers,
    refuse,
)
from mlflow_ppo_flavor.decision.bar_time import Reason, show_time
from mlflow_ppo_flavor.decision.bars import Bars

SPLIT_STEP = 1.5
_FORWARD = (Fraction(3, 2), Fraction(2), Fraction(5, 2), *map(Fraction, range(3, 101)))
SPLIT_RATIOS = (*_FORWARD, *(1 / ratio for ratio in _FORWARD))
_LOG_RATIOS = np.log(np.array([float(ratio) for ratio in SPLIT_RATIOS]))
_ALLOWANCE = 0.01
_NEAR = 0.05


@dataclass(frozen=True, slots=True)
class Split:
    """A split: the first row after it, its time (ISO 8601), and new shares per old share (2 for 2:1, 1/10 for 1:10)."""

    row: int
    time: str
    ratio: Fraction


def adjust(raw: pd.DataFrame, *, symbol: str, spec: BarSpec) -> Bars:
    """Bars adjusted as `spec.adjustment` says, from a frame of raw bars with the further column `adj_close`.

    Raw columns and adj_close are checked first, the adjusted columns again. `raw` changes nothing and doesn't read
    adj_close. `split`: prices are divided and volume multiplied by the ratios of all later splits, so that the last bar
    stays as it is. `all`: close becomes adj_close; open, high and low are multiplied by adj_close / close, then high
    and low are taken as maximum and minimum with open and close, since the product's rounding can pass them. Volume
    as in `split`: a dividend changes no number of shares. Raises BarsError with every fault, also for a step of the
    factor that is no usual split ratio.
    """
    if spec.adjustment == "raw":
        return Bars.from_frame(raw, symbol=symbol, spec=spec)
    columns, faults = read_columns(raw, spec)
    adj_close, missing = read_numbers(raw, "adj_close")
    reasons = [(None, missing)] if missing else number_reasons("adj_close", adj_close)
    refuse(symbol, len(raw), faults + as_faults(reasons, columns.time), stage="raw bars")
    splits, unknown = find_splits(columns, adj_close)
    refuse(symbol, len(raw), as_faults(unknown, columns.time), stage="raw bars")
    adjusted = _by_splits(columns, splits) if spec.adjustment == "split" else _by_all(columns, adj_close, splits)
    refuse(symbol, len(raw), column_faults(adjusted, spec), stage=f"bars after adjustment {spec.adjustment!r}")
    return Bars(symbol, spec, *adjusted)


def find_splits(columns: Columns, adj_close: Float64) -> tuple[tuple[Split, ...], tuple[Reason, ...]]:
    """The splits that adj_close / close shows, oldest first, and a (row, reason) for each step of no usual ratio."""
    log_step = np.diff(np.log(adj_close) - np.log(columns.close), prepend=np.nan)
    splits: list[Split] = []
    unknown: list[Reason] = []
    for row in map(int, np.flatnonzero(np.abs(log_step) >= np.log(SPLIT_STEP * (1 - _ALLOWANCE)))):
        step = float(np.exp(log_step[row]))
        ratio = split_ratio(step)
        if ratio is None:
            found = f"adj_close / close steps by {step:.4g}"
            unknown.append((row, f"{found}, expected a usual split ratio (3:2, 2:1, … 100:1 or reverse) within 5 %"))
        else:
            splits.append(Split(row, show_time(int(columns.time[row])), ratio))
    return tuple(splits), tuple(unknown)


def split_ratio(step: float) -> Fraction | None:
    """The usual split ratio nearest to a step of the adjustment factor, or None if none is within 5 %.

    A dividend on the day of a split adds to the step, and rounded prices blur it: hence the nearest, in logarithms.
    """
    distance = np.abs(_LOG_RATIOS - np.log(step))
    nearest = int(np.argmin(distance))
    return SPLIT_RATIOS[nearest] if distance[nearest] <= np.log(1 + _NEAR) else None


def _later_ratio(count: int, splits: tuple[Split, ...]) -> Float64:
    """For each bar the product of the ratios of all splits after it: float64[count]."""
    product = np.ones(count)
    for split in splits:
        product[: split.row] *= float(split.ratio)
    return product


def _by_splits(columns: Columns, splits: tuple[Split, ...]) -> Columns:
    ratio = _later_ratio(len(columns.time), splits)
    opened, high, low, close = (getattr(columns, name) / ratio for name in PRICES)
    return Columns(columns.time, opened, high, low, close, columns.volume * ratio)


def _by_all(columns: Columns, adj_close: Float64, splits: tuple[Split, ...]) -> Columns:
    factor = adj_close / columns.close
    opened = columns.open * factor
    high = np.maximum(columns.high * factor, np.maximum(opened, adj_close))
    low = np.minimum(columns.low * factor, np.minimum(opened, adj_close))
    volume = columns.volume * _later_ratio(len(columns.time), splits)
    return Columns(columns.time, opened, high, low, adj_close, volume)
