"""The venue's sessions: those of the exchange-calendars library, corrected by the bars that are replayed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import exchange_calendars
import pandas as pd

from mlflow_ppo_flavor.decision.bar_time import exchange_zone

VENUE_CALENDAR = "XNYS"
ZONE = "America/New_York"
_OPENS, _CLOSES = time(9, 30), time(16)
_MARGIN = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day: its date at the venue, its open and its close in UTC nanoseconds."""

    day: date
    opens: int
    closes: int


class SessionCalendar:
    """Sessions in order, none overlapping another."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.sessions = tuple(sessions)
        self._opens = [session.opens for session in self.sessions]
        self._closes = [session.closes for session in self.sessions]
        self._by_day = {session.day: session for session in self.sessions}

    @classmethod
    def around(cls, days: Iterable[date]) -> SessionCalendar:
        """The sessions from a month before the first of `days` to a month after the last.

        Between the first and the last, exactly `days` are sessions: the bars know best when trading took place. A day
        that the library doesn't know gets the usual hours, 9:30 to 16:00 in New York.
        """
        traded = sorted(set(days))
        published = _published(traded[0] - _MARGIN, traded[-1] + _MARGIN)
        outside = [day for day in published if not traded[0] <= day <= traded[-1]]
        return cls([published.get(day) or _usual(day) for day in sorted([*outside, *traded])])

    def on(self, day: date) -> Session | None:
        """The session of a date, or None."""
        return self._by_day.get(day)

    def at(self, now: int) -> Session | None:
        """The session that is open at `now` (its open included, its close not), or None."""
        row = bisect_right(self._opens, now) - 1
        return self.sessions[row] if row >= 0 and now < self._closes[row] else None

    def upcoming(self, now: int) -> Session | None:
        """The open session, else the next one: where an order given at `now` is worked. None behind the last."""
        row = bisect_right(self._closes, now)
        return self.sessions[row] if row < len(self.sessions) else None

    def next_open(self, now: int) -> int | None:
        """The first open after `now`, or None."""
        row = bisect_right(self._opens, now)
        return self._opens[row] if row < len(self._opens) else None

    def between(self, first: date, last: date) -> list[Session]:
        """The sessions from one date to another, both included."""
        return [session for session in self.sessions if first <= session.day <= last]


def venue_day(now: int) -> date:
    """The date at the venue at an instant (UTC nanoseconds)."""
    return pd.Timestamp(now, unit="ns", tz="UTC").tz_convert(exchange_zone(ZONE)).date()


def _published(first: date, last: date) -> dict[date, Session]:
    calendar = exchange_calendars.get_calendar(VENUE_CALENDAR, start=first.isoformat(), end=last.isoformat())
    rows = zip(calendar.sessions, calendar.opens_nanos, calendar.closes_nanos, strict=True)
    return {day.date(): Session(day.date(), int(opened), int(closed)) for day, opened, closed in rows}


def _usual(day: date) -> Session:
    return Session(day, *(_instant(day, clock) for clock in (_OPENS, _CLOSES)))


def _instant(day: date, clock: time) -> int:
    return pd.Timestamp(datetime.combine(day, clock), tz=exchange_zone(ZONE)).value
