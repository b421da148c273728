"""When bars start: reading times into UTC nanoseconds, their order, and the exchange's local calendar.

A bar's time is its START. What is accepted, and why:
- Times with a zone or an offset are converted to UTC.
- Naive times are accepted for daily bars alone, and at midnight alone: a CSV's `2024-03-08` means that day of the
  exchange. Naive intraday times are refused: vendors mean UTC or local time by them, local time occurs twice on the
  night when clocks go back, and a wrong guess moves the calendar features by hours without any error.
- A daily bar must start at the local midnight of the exchange's zone (04:00Z or 05:00Z in New York: what Alpaca sends).
  Another start is refused and not normalised: a bar stamped 2024-03-08T00:00Z lies on the evening of 2024-03-07 in
  New York, so rounding would give it the wrong day in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.errors import SpecError

Int64 = npt.NDArray[np.int64]
Reason = tuple[int | None, str]
MISSING = int(np.iinfo(np.int64).min)
YEARS = (1900, 2261)
_FIRST_NS, _END_NS = (pd.Timestamp(year=year, month=1, day=1).value for year in (YEARS[0], YEARS[1] + 1))
_LENGTH_NS = {"1Hour": 3_600_000_000_000, "1Min": 60_000_000_000}
_ISO_8601 = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(?P<offset>Z|[+-]\d\d:?\d\d)?)?")


@dataclass(frozen=True, slots=True)
class LocalCalendar:
    """Calendar fields of bar starts in the exchange's zone: int64[n] each; weekday 0 is Monday, month is 1 to 12."""

    year: Int64
    month: Int64
    day: Int64
    weekday: Int64
    hour: Int64


@lru_cache(maxsize=8)
def exchange_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name; SpecError if this machine's time zone database doesn't know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise SpecError("bars.time_zone", repr(name), "a zone that the time zone database knows") from None


def local_calendar(start: Int64, spec: BarSpec) -> LocalCalendar:
    """Local calendar fields of bar starts (UTC nanoseconds) in the zone of `spec`."""
    local = _utc(start).tz_convert(exchange_zone(spec.time_zone))
    fields = (local.year, local.month, local.day, local.day_of_week, local.hour)
    return LocalCalendar(*(np.asarray(field, dtype=np.int64) for field in fields))


def show_time(start: int) -> str:
    """A bar start (UTC nanoseconds) as messages show it: ISO 8601 with Z, or '' if it is missing."""
    if start == MISSING:
        return ""
    return pd.Timestamp(start, unit="ns", tz="UTC").isoformat().replace("+00:00", "Z")


def read_times(column: pd.Series, spec: BarSpec) -> tuple[Int64, list[Reason]]:
    """Bar starts as UTC nanoseconds, and each (row, reason) that couldn't be read; such a row is MISSING.

    Takes datetime64 with or without a zone, and ISO 8601 text, whose rows may differ in their offsets. A reason with
    row None is about the column as a whole.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(column.dtype):
        times, naive = pd.DatetimeIndex(column), np.full(len(column), column.dt.tz is None)
        reasons: list[Reason] = [(int(row), "time is missing") for row in np.flatnonzero(_missing(times))]
    elif pd.api.types.infer_dtype(column, skipna=True) == "string":
        times, naive, reasons = _parse_text(column)
    else:
        expected = "datetime64 or ISO 8601 text: convert it with pandas.to_datetime"
        return np.full(len(column), MISSING, dtype=np.int64), [
            (None, f"column time: found {column.dtype}, expected {expected}")
        ]
    wall, beyond = _within_years(times.tz_convert("UTC").tz_localize(None) if times.tz is not None else times)
    start, refused = _localise(wall, naive, spec)
    return start, reasons + beyond + refused


def within_years(start: Int64) -> tuple[Int64, list[Reason]]:
    """Starts of which those outside the accepted years are MISSING, and a (row, reason) for each of these."""
    outside = (start < _FIRST_NS) | (start >= _END_NS)
    expected = f"expected UTC nanoseconds of a year in [{YEARS[0]}, {YEARS[1]}]"
    reasons: list[Reason] = [(int(row), f"time is {start[row]}, {expected}") for row in np.flatnonzero(outside)]
    return np.where(outside, MISSING, start), reasons


def order_reasons(start: Int64, spec: BarSpec, *, first_row: int = 0) -> Iterator[Reason]:
    """Each (row, reason) where readable starts aren't unique, ascending, a timeframe apart, and midnights if daily.

    Reasons name other rows counted from `first_row`. A missing start is passed over: its neighbours are compared.
    """
    if spec.timeframe == "1Day":
        yield from _midnight_reasons(start, spec)
    rows, length = np.flatnonzero(start != MISSING), _LENGTH_NS.get(spec.timeframe, 0)
    known = start[rows]
    _, first, which = np.unique(known, return_index=True, return_inverse=True)
    earlier = first[which]
    early = np.flatnonzero(known[1:] < known[:-1] + length) + 1
    for k in np.union1d(early, np.flatnonzero(earlier < np.arange(len(rows)))):
        before = first_row + int(rows[k - 1])
        if earlier[k] < k:
            reason = f"time repeats row {first_row + rows[earlier[k]]}, expected each time once"
        elif known[k] < known[k - 1]:
            reason = f"time is before row {before}'s {show_time(int(known[k - 1]))}, expected ascending times"
        else:
            found = (
                f"starts {(known[k] - known[k - 1]) / 1e9:g} s after row {before}, expected {length / 1e9:g} s or more"
            )
            reason = f"{found}: is {spec.timeframe} the right timeframe?"
        yield int(rows[k]), reason


def _missing(times: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    return np.asarray(times.isna(), dtype=bool)


def _utc(start: Int64) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(start.view("datetime64[ns]"), tz="UTC")


def _nanoseconds(wall: pd.DatetimeIndex) -> Int64:
    return np.asarray(wall.as_unit("ns").asi8, dtype=np.int64)


def _parse_text(column: pd.Series) -> tuple[pd.DatetimeIndex, npt.NDArray[np.bool_], list[Reason]]:
    """Text as wall-clock times: with an offset in UTC, without one as written (and marked naive)."""
    matches = [_ISO_8601.fullmatch(text) if isinstance(text, str) else None for text in column]
    readable = [match.string if match is not None else "" for match in matches]
    times = pd.to_datetime(readable, format="ISO8601", utc=True, errors="coerce").tz_localize(None)
    naive = np.array([match is not None and match["offset"] is None for match in matches], dtype=bool)
    reasons: list[Reason] = []
    for row in np.flatnonzero(_missing(times)):
        text = column.iloc[int(row)]
        found = f"time {text!r} can't be read, expected ISO 8601 text" if isinstance(text, str) else "time is missing"
        reasons.append((int(row), found))
    return times, naive, reasons


def _within_years(wall: pd.DatetimeIndex) -> tuple[pd.DatetimeIndex, list[Reason]]:
    """Wall-clock times whose year int64 nanoseconds and zone tables hold; others become missing, with a reason."""
    year = wall.year.to_numpy()
    outside = ~_missing(wall) & ~((year >= YEARS[0]) & (year <= YEARS[1]))
    expected = f"expected a year in [{YEARS[0]}, {YEARS[1]}]"
    reasons: list[Reason] = [
        (int(row), f"time {wall[int(row)]} is out of range, {expected}") for row in np.flatnonzero(outside)
    ]
    return pd.DatetimeIndex(np.where(outside, np.datetime64("NaT"), wall.to_numpy())), reasons


def _localise(wall: pd.DatetimeIndex, naive: npt.NDArray[np.bool_], spec: BarSpec) -> tuple[Int64, list[Reason]]:
    """Wall-clock times (UTC, or naive where marked) as UTC nanoseconds; see the module for what is refused."""
    start = _nanoseconds(wall)
    naive = naive & ~_missing(wall)
    refused = naive & (wall != wall.normalize()) if spec.timeframe == "1Day" else naive
    start[refused] = MISSING
    local = naive & ~refused
    start[local] = _day_starts(wall[local], spec)
    what = (
        "00:00 or an offset"
        if spec.timeframe == "1Day"
        else f"an offset for {spec.timeframe} bars (UTC or local is a guess)"
    )
    reason = f"has no time zone, expected {what}: localise it with pandas' tz_localize"
    return start, [(int(row), f"time {wall[int(row)]} {reason}") for row in np.flatnonzero(refused)]


def _day_starts(dates: pd.DatetimeIndex, spec: BarSpec) -> Int64:
    """UTC nanoseconds at which local dates begin: the day's first instant, also where clocks change at midnight."""
    zone, first = exchange_zone(spec.time_zone), np.ones(len(dates), dtype=bool)
    return _nanoseconds(dates.tz_localize(zone, ambiguous=first, nonexistent="shift_forward").tz_convert("UTC"))


def _midnight_reasons(start: Int64, spec: BarSpec) -> Iterator[Reason]:
    known = np.flatnonzero(start != MISSING)
    local = _utc(start[known]).tz_convert(exchange_zone(spec.time_zone)).tz_localize(None)
    midnight = _day_starts(local.normalize(), spec)
    for k in np.flatnonzero(midnight != start[known]):
        found = f"daily bar starts at {local[int(k)].isoformat()} in {spec.time_zone}"
        yield int(known[k]), f"{found}, expected a local midnight such as {show_time(int(midnight[k]))} or a naive date"
