"""The tape: when each bar opens and closes, and what the market shows at any position between two such events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date

import numpy as np
import pandas as pd

from live.exchange.calendar import ZONE, SessionCalendar
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_time import Int64, exchange_zone
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.errors import BarsError

CLOSE, OPEN = 0, 1
_LENGTH_NS = {"1Min": 60_000_000_000, "1Hour": 3_600_000_000_000}


class Tape:
    """The bars of all symbols as one row of events: `times` int64[g] (UTC nanoseconds) and `kinds` int8[g], CLOSE or
    OPEN.

    A position counts the events that have happened; everything shown is a pure function of it. At one instant the
    closes come before the opens, so that a position can stand between two adjoining bars. A bar opens and closes with
    the part of it that lies in a session: a daily bar from the session's open to its close.

    A bar tells four prices but no path, so while it forms the market shows its open alone: nobody learns its high,
    low or close before it is complete.
    """

    def __init__(self, bars: Mapping[str, Bars]) -> None:
        """The tape of these bars, all of one timeframe and adjustment; BarsError otherwise, and for none at all."""
        self.bars = dict(bars)
        self.spec = _common_spec(self.bars)
        self.calendar = SessionCalendar.around(day for series in self.bars.values() for day in traded_days(series))
        spans = {symbol: spans_of(series, self.calendar) for symbol, series in self.bars.items()}
        self.times, self.kinds, self._groups = _events(spans)
        self._members = _members(self._groups, len(self.times))

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order given."""
        return tuple(self.bars)

    def position_at(self, now: int) -> int:
        """The position at an instant: all events up to and at `now` have happened."""
        return int(np.searchsorted(self.times, now, side="right"))

    def time_at(self, position: int) -> int:
        """The instant of the last event that has happened; just before the first event at position 0."""
        return int(self.times[position - 1]) if position else int(self.times[0]) - 1

    def after_closes(self, position: int, count: int) -> int:
        """The position after the next `count` events at which bars close; the end where there are fewer."""
        closes = np.flatnonzero(self.kinds[position:] == CLOSE)
        return position + int(closes[count - 1]) + 1 if count <= len(closes) else len(self.times)

    def members(self, event: int) -> tuple[tuple[str, int], ...]:
        """The (symbol, row) of the bars that open or close at an event."""
        return self._members[event]

    def completed(self, symbol: str, position: int) -> int:
        """How many bars of a symbol are complete."""
        return int(np.searchsorted(self._groups[symbol][CLOSE], position))

    def forming(self, symbol: str, position: int) -> int | None:
        """The row of the bar that has opened and not closed, or None."""
        opened = int(np.searchsorted(self._groups[symbol][OPEN], position))
        return opened - 1 if opened > self.completed(symbol, position) else None

    def price(self, symbol: str, position: int) -> float | None:
        """The last price: the open of the forming bar, else the close of the last complete one; None before the first
        bar.
        """
        row = self.forming(symbol, position)
        if row is not None:
            return float(self.bars[symbol].open[row])
        done = self.completed(symbol, position)
        return float(self.bars[symbol].close[done - 1]) if done else None


def _common_spec(bars: Mapping[str, Bars]) -> BarSpec:
    specs = {series.spec for series in bars.values()}
    if not any(len(series) for series in bars.values()):
        raise BarsError("tape: found no bars, expected at least one symbol")
    if len(specs) > 1:
        found = " and ".join(sorted(f"{spec.timeframe} {spec.adjustment}" for spec in specs))
        raise BarsError(f"tape: found bars of {found}, expected one timeframe and adjustment")
    return specs.pop()


def traded_days(bars: Bars) -> list[date]:
    """The dates at the venue on which bars start."""
    local = pd.DatetimeIndex(bars.time.view("datetime64[ns]"), tz="UTC").tz_convert(exchange_zone(ZONE))
    return list(local.normalize().unique().date)


def spans_of(bars: Bars, calendar: SessionCalendar) -> tuple[Int64, Int64]:
    """When each bar closes and opens, int64[n] each: its overlap with the day's session, else (extended hours) all of
    it.
    """
    days = pd.DatetimeIndex(bars.time.view("datetime64[ns]"), tz="UTC").tz_convert(exchange_zone(ZONE)).date
    sessions = [calendar.on(day) for day in days]
    session_opens = np.array([session.opens if session else 0 for session in sessions], dtype=np.int64)
    session_closes = np.array([session.closes if session else 0 for session in sessions], dtype=np.int64)
    if bars.spec.timeframe == "1Day":
        return session_closes, session_opens
    ends = bars.time + _LENGTH_NS[bars.spec.timeframe]
    opens, closes = np.maximum(bars.time, session_opens), np.minimum(ends, session_closes)
    outside = opens >= closes
    return np.where(outside, ends, closes), np.where(outside, bars.time, opens)


def _events(spans: Mapping[str, tuple[Int64, Int64]]) -> tuple[Int64, Int64, dict[str, tuple[Int64, Int64]]]:
    """Distinct (time, kind), in order, and for each symbol the event at which each bar closes and opens."""
    keys = {symbol: (closes * 2 + CLOSE, opens * 2 + OPEN) for symbol, (closes, opens) in spans.items()}
    events = np.unique(np.concatenate([key for pair in keys.values() for key in pair]))
    groups = {
        symbol: (np.searchsorted(events, closes), np.searchsorted(events, opens))
        for symbol, (closes, opens) in keys.items()
    }
    return events // 2, events % 2, groups


def _members(groups: Mapping[str, tuple[Int64, Int64]], count: int) -> list[tuple[tuple[str, int], ...]]:
    members: list[list[tuple[str, int]]] = [[] for _ in range(count)]
    for symbol, row, event in _rows(groups):
        members[event].append((symbol, row))
    return [tuple(of_event) for of_event in members]


def _rows(groups: Mapping[str, tuple[Int64, Int64]]) -> Iterator[tuple[str, int, int]]:
    for symbol, kinds in groups.items():
        for events in kinds:
            yield from ((symbol, row, int(event)) for row, event in enumerate(events))
