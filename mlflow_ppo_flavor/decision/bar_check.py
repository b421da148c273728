"""What is wrong with bars: every fault, as a value with its row, its time and a reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_time import Int64, Reason, order_reasons, read_times, show_time, within_years
from mlflow_ppo_flavor.errors import BarsError

Float64 = npt.NDArray[np.float64]
PRICES = ("open", "high", "low", "close")
NUMBERS = (*PRICES, "volume")
MIN_PRICE, MAX_PRICE, MAX_VOLUME = 1e-12, 1e15, 1e18
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class BarFault:
    """One fault: row (position; None if it's about a whole column), time (ISO 8601, '' if unknown) and reason."""

    row: int | None
    time: str
    reason: str

    @property
    def message(self) -> str:
        """Where and what, in one line."""
        if self.row is None:
            return self.reason
        return f"row {self.row} ({self.time or 'time unknown'}): {self.reason}"


NO_BARS = BarFault(None, "", "found no bars, expected at least one")


class Columns(NamedTuple):
    """The columns of n bars: time int64[n] (UTC nanoseconds of the start), the others float64[n]."""

    time: Int64
    open: Float64
    high: Float64
    low: Float64
    close: Float64
    volume: Float64

    def part(self, rows: slice) -> Columns:
        """The columns of some rows, as views."""
        opened, high, low, close, volume = (column[rows] for column in self[1:])
        return Columns(self.time[rows], opened, high, low, close, volume)

    def followed_by(self, later: Columns) -> Columns:
        """These rows and then those of `later`, copied."""
        pairs = zip(self[1:], later[1:], strict=True)
        opened, high, low, close, volume = (np.concatenate(pair) for pair in pairs)
        return Columns(np.concatenate((self.time, later.time)), opened, high, low, close, volume)


def refuse(symbol: str, count: int, faults: Sequence[BarFault], *, stage: str = "bars") -> None:
    """Raise BarsError with all the faults if there are any; its message shows the first three and their number."""
    if not faults:
        return
    shown = "; ".join(fault.message for fault in faults[:_SHOWN])
    more = f"; and {len(faults) - _SHOWN} more (all are in .faults)" if len(faults) > _SHOWN else ""
    found = f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in {count} {stage}"
    raise BarsError(f"{symbol}: {found}: {shown}{more}: repair or drop these rows at their source", faults)


def read_columns(frame: pd.DataFrame, spec: BarSpec) -> tuple[Columns, tuple[BarFault, ...]]:
    """The columns of a frame as new arrays, with every fault: of columns, of times, of numbers, in the order of rows.

    A column that can't be read is NaN (or missing times) in the result, and isn't reported row by row.
    """
    if not len(frame):
        return Columns(np.empty(0, np.int64), *[np.empty(0)] * len(NUMBERS)), (NO_BARS,)
    reasons: list[Reason] = []
    start = np.full(len(frame), np.iinfo(np.int64).min, dtype=np.int64)
    missing = _column_reason(frame, "time")
    if missing:
        reasons.append((None, missing))
    else:
        start, unread = read_times(frame["time"], spec)
        reasons += unread
    numbers = {name: read_numbers(frame, name) for name in NUMBERS}
    columns = Columns(start, *(values for values, _ in numbers.values()))
    reasons += [(None, reason) for _, reason in numbers.values() if reason]
    unreadable = {name for name, (_, reason) in numbers.items() if reason}
    reasons += [*order_reasons(start, spec), *_value_reasons(columns, unreadable)]
    return columns, as_faults(reasons, start)


def find_faults(frame: pd.DataFrame, spec: BarSpec) -> tuple[BarFault, ...]:
    """Every fault of a frame with the columns time, open, high, low, close, volume; others are ignored, () if clean."""
    return read_columns(frame, spec)[1]


def column_faults(columns: Columns, spec: BarSpec, *, first_row: int = 0) -> tuple[BarFault, ...]:
    """Every fault of columns that are arrays already: the same checks as `find_faults`. Rows count from `first_row`."""
    if not len(columns.time):
        return (NO_BARS,)
    start, beyond = within_years(columns.time)
    order = order_reasons(start, spec, first_row=first_row)
    return as_faults([*beyond, *order, *_value_reasons(columns, frozenset())], start, first_row=first_row)


def as_faults(reasons: Iterable[Reason], start: Int64, *, first_row: int = 0) -> tuple[BarFault, ...]:
    """Reasons as faults with the time of their row, whole columns first, then by row."""
    ordered = sorted(reasons, key=lambda reason: -1 if reason[0] is None else reason[0])
    return tuple(
        BarFault(None, "", text) if row is None else BarFault(first_row + row, show_time(int(start[row])), text)
        for row, text in ordered
    )


def read_numbers(frame: pd.DataFrame, name: str) -> tuple[Float64, str]:
    """A column as a new float64[n], and '' or the reason why it can't be read (then all NaN). NA becomes NaN."""
    reason = _column_reason(frame, name)
    if not reason:
        kind = frame[name].dtype
        if pd.api.types.is_float_dtype(kind) or pd.api.types.is_integer_dtype(kind):
            return frame[name].to_numpy(dtype=np.float64, na_value=np.nan, copy=True) + 0.0, ""
        reason = f"column {name}: found {kind}, expected float or integer numbers: convert it with pandas.to_numeric"
    return np.full(len(frame), np.nan), reason


def number_reasons(name: str, values: Float64) -> Iterator[Reason]:
    """Each (row, reason) where a number isn't finite, a price isn't above 0 or a volume is below 0.

    The bounds far beyond any market keep what is computed from checked bars, squares and products too, finite.
    """
    low, high, kind = (0.0, MAX_VOLUME, "volume") if name == "volume" else (MIN_PRICE, MAX_PRICE, "price")
    for row in np.flatnonzero(~np.isfinite(values)):
        yield int(row), f"{name} is {values[row]}, expected a finite number"
    for row in np.flatnonzero(np.isfinite(values) & ((values < low) | (values > high))):
        yield int(row), f"{name} is {_show(values[row])}, expected a {kind} in [{low:g}, {high:g}]"


def _show(value: np.float64) -> str:
    return f"{float(value)!r}".removesuffix(".0")


def _column_reason(frame: pd.DataFrame, name: str) -> str:
    found = int((frame.columns == name).sum())
    if found == 1:
        return ""
    if found:
        return f"column {name}: found {found} times, expected once"
    others = ", ".join(map(str, frame.columns)) or "no columns"
    return f"column {name}: missing, found {others}: add or rename it"


def _value_reasons(columns: Columns, unreadable: Collection[str]) -> Iterator[Reason]:
    """Each (row, reason) for numbers out of bounds, and for bars whose high or low doesn't enclose open and close."""
    for name in NUMBERS:
        if name not in unreadable:
            yield from number_reasons(name, getattr(columns, name))
    top, bottom = np.maximum(columns.open, columns.close), np.minimum(columns.open, columns.close)
    finite = np.isfinite(np.stack(columns[1:5])).all(axis=0)
    for row in np.flatnonzero(finite & (columns.high < top)):
        yield int(row), f"high {_show(columns.high[row])} is below max(open, close) {_show(top[row])}"
    for row in np.flatnonzero(finite & (columns.low > bottom)):
        yield int(row), f"low {_show(columns.low[row])} is above min(open, close) {_show(bottom[row])}"
