"""The bar table: checked at the edge, immutable, cheap to slice, and the same bytes for the same bars everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_check import (
    NUMBERS,
    BarFault,
    Columns,
    Float64,
    column_faults,
    find_faults,
    read_columns,
    refuse,
)
from mlflow_ppo_flavor.decision.bar_time import Int64, LocalCalendar, local_calendar, show_time
from mlflow_ppo_flavor.errors import BarsError

__all__ = ["Bar", "BarFault", "Bars", "LocalCalendar", "check_bar", "find_faults"]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, as a feed brings it: time is its start in UTC nanoseconds; prices and volume are floats. Unchecked."""

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def check_bar(bar: Bar, spec: BarSpec) -> tuple[BarFault, ...]:
    """Every fault of one bar by itself, as row 0; () if it is clean. `Bars.check` also looks at the bar before it."""
    faults = tuple(BarFault(0, "", reason) for reason in _kind_reasons(bar))
    return faults or column_faults(_one_row(bar), spec)


@dataclass(frozen=True, eq=False)
class Bars:
    """n bars of one symbol: time int64[n] (start, UTC nanoseconds), the others float64[n]; C-contiguous and read-only.

    Build with `from_frame` or `from_columns`, which check everything; the bare constructor trusts the numbers and only
    copies arrays that could still be written. Equal if symbol, spec and every number are equal. BarsError for columns
    of unequal lengths and for a slice with a step.
    """

    symbol: str
    spec: BarSpec
    time: Int64
    open: Float64
    high: Float64
    low: Float64
    close: Float64
    volume: Float64

    def __post_init__(self) -> None:
        """Hold every column as a read-only C array: a view where it is one already, else a copy."""
        object.__setattr__(self, "time", _read_only(self.time, np.int64))
        for name in NUMBERS:
            object.__setattr__(self, name, _read_only(getattr(self, name), np.float64))
        lengths = {name: getattr(self, name).shape for name in ("time", *NUMBERS)}
        if set(lengths.values()) != {(self.time.size,)}:
            raise BarsError(f"{self.symbol}: columns of shapes {lengths}, expected one dimension and equal lengths")

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, symbol: str, spec: BarSpec) -> Bars:
        """Bars from a frame with the columns time, open, high, low, close, volume; others are ignored, all are copied.

        Raises BarsError, whose `faults` are all that `find_faults` finds.
        """
        columns, faults = read_columns(frame, spec)
        refuse(symbol, len(frame), faults)
        return cls(symbol, spec, *columns)

    @classmethod
    def from_columns(cls, columns: Columns, *, symbol: str, spec: BarSpec) -> Bars:
        """Bars from arrays; checked as `from_frame` checks. Raises BarsError with all faults."""
        refuse(symbol, len(columns.time), column_faults(columns, spec))
        return cls(symbol, spec, *columns._replace(volume=columns.volume + 0.0))

    def __len__(self) -> int:
        """How many bars."""
        return int(self.time.size)

    def __getitem__(self, rows: slice | int) -> Bars:
        """The bars of a slice without a step, as views: nothing is copied. BarsError for anything else."""
        if isinstance(rows, int) or rows.step not in (None, 1):
            expected = "expected a slice without a step: use bars.bar(row) for one bar"
            raise BarsError(f"{self.symbol}: bars[{rows}]: {expected}")
        return Bars(self.symbol, self.spec, *self.columns.part(rows))

    def __eq__(self, other: object) -> bool:
        """Equal symbol, spec and numbers."""
        return self.digest == other.digest if isinstance(other, Bars) else NotImplemented

    def __hash__(self) -> int:
        """Hash of the digest."""
        return hash(self.digest)

    @property
    def columns(self) -> Columns:
        """The arrays: time, open, high, low, close, volume."""
        return Columns(self.time, self.open, self.high, self.low, self.close, self.volume)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) over symbol, bar spec, length and each column's little-endian bytes: the same on any machine."""
        header = {"symbol": self.symbol, "spec": self.spec.to_dict(), "bars": len(self)}
        sha = hashlib.sha256(canonical_json(header))
        for column in self.columns:
            sha.update(column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes())
        return sha.hexdigest()

    @cached_property
    def local(self) -> LocalCalendar:
        """Year, month, day, weekday and hour of each bar's start in the exchange's zone: int64[n] each."""
        return local_calendar(self.time, self.spec)

    def bar(self, row: int) -> Bar:
        """One bar; negative rows count from the end. IndexError beyond the table."""
        return Bar(int(self.time[row]), *(float(getattr(self, name)[row]) for name in NUMBERS))

    def check(self, bar: Bar) -> tuple[BarFault, ...]:
        """Every fault of a bar as the next one, under the row that it would have; () if it may be appended."""
        faults = tuple(BarFault(len(self), "", reason) for reason in _kind_reasons(bar))
        if faults:
            return faults
        last_row = max(len(self) - 1, 0)
        tail = self.columns.part(slice(last_row, None)).followed_by(_one_row(bar))
        return column_faults(tail, self.spec, first_row=last_row)

    def append(self, bar: Bar) -> Bars:
        """These bars and one more, checked; this table stays as it is. Raises BarsError with the faults of the bar."""
        refuse(self.symbol, 1, self.check(bar), stage="new bar")
        return Bars(self.symbol, self.spec, *self.columns.followed_by(_one_row(bar)))

    def to_frame(self) -> pd.DataFrame:
        """The bars as a frame: time (datetime64[ns, UTC]), open, high, low, close, volume; `from_frame` reads it."""
        numbers = {name: getattr(self, name) for name in NUMBERS}
        return pd.DataFrame({"time": pd.DatetimeIndex(self.time.view("datetime64[ns]"), tz="UTC"), **numbers})

    def __reduce__(self) -> tuple[type[Bars], tuple[Any, ...]]:
        """Pickled by its columns, since numpy forgets that an array was read-only."""
        return Bars, (self.symbol, self.spec, *self.columns)

    def __repr__(self) -> str:
        """Symbol, number of bars, timeframe and range."""
        span = f", {show_time(int(self.time[0]))} to {show_time(int(self.time[-1]))}" if len(self) else ""
        return f"Bars({self.symbol}, {len(self)} × {self.spec.timeframe} {self.spec.adjustment}{span})"


def _read_only(values: npt.NDArray[Any], kind: type[np.generic]) -> npt.NDArray[Any]:
    """The values as a C array that nobody can write: themselves if they are one already, else a copy."""
    if values.dtype == kind and values.flags.c_contiguous and not values.flags.writeable:
        return values
    copy = np.array(values, dtype=kind, order="C", copy=True)
    copy.flags.writeable = False
    return copy


def _one_row(bar: Bar) -> Columns:
    """A bar as columns of one row each; -0.0 becomes 0.0, since equal bars have equal bytes."""
    numbers = (np.array([getattr(bar, name)], dtype=np.float64) + 0.0 for name in NUMBERS)
    return Columns(np.array([bar.time], dtype=np.int64), *numbers)


def _kind_reasons(bar: Bar) -> Iterator[str]:
    """A reason for each field of a bar that isn't of its kind: a feed may bring None, text or a bool."""
    time: object = bar.time
    if isinstance(time, bool) or not isinstance(time, int | np.integer) or not -(2**63) < int(time) < 2**63:
        yield f"time is {time!r}, expected integer nanoseconds since 1970 in UTC"
    for name in NUMBERS:
        value = getattr(bar, name)
        if isinstance(value, bool) or not isinstance(value, float | int | np.floating | np.integer):
            yield f"{name} is {value!r}, expected a number"
