"""Which bars of an answer may be used: complete, clean, new, in order and without a hole before them. Pure.

The rules look at bars, sessions and the time alone, never at when an answer came, so that a trader that starts at any
bar takes the same ones as one that has run for months.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType

from live.venue import Session
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_time import MISSING, exchange_zone
from mlflow_ppo_flavor.decision.bars import Bar, check_bar

LENGTH_NS = MappingProxyType({"1Hour": 3_600_000_000_000, "1Min": 60_000_000_000})
MAX_LOG_MOVE = MappingProxyType({"1Day": 1.0, "1Hour": 0.7, "1Min": 0.5})
"""{timeframe: the largest |log(close / close before)| that is believed at once}. 1.0 is × 2.7 or ÷ 2.7 in a day; AAPL's
worst one since 2000 is 0.73. A larger move is believed once the next bar opens where it led to.
"""


@dataclass(frozen=True, slots=True)
class RefusedBar:
    """A bar that isn't used, or one that is missing: its start (UTC nanoseconds; MISSING if unreadable) and why."""

    symbol: str
    time: int
    reason: str


@dataclass(frozen=True, slots=True)
class Screened:
    """What a screening let through, oldest first, and what it refused.

    `revised`: the last known bar is told again with other numbers, so that those before it may have changed as well.
    """

    accepted: tuple[Bar, ...]
    refused: tuple[RefusedBar, ...]
    revised: bool


class SessionTable:
    """The venue's sessions in order, and where the bars of a spec stand in them. A row counts the sessions."""

    def __init__(self, sessions: Sequence[Session], spec: BarSpec) -> None:
        self.sessions, self.spec = tuple(sessions), spec
        self._rows = {session.day: row for row, session in enumerate(self.sessions)}
        self._closes = [session.closes for session in self.sessions]

    def row_of(self, start: int) -> int | None:
        """The row of the session that a bar's start (UTC nanoseconds) belongs to: that of its day; None without one.

        A bar within the day that regular trading doesn't touch belongs to none, if the spec is of regular trading.
        """
        row = self._rows.get(day_of(start, self.spec))
        if row is None or self.spec.timeframe == "1Day" or self.spec.session != "regular":
            return row
        session = self.sessions[row]
        return row if session.opens - LENGTH_NS[self.spec.timeframe] < start < session.closes else None

    def end_of(self, start: int) -> int | None:
        """When a bar is complete (UTC nanoseconds): a daily one at its session's close, however early. None as
        `row_of`.
        """
        row = self.row_of(start)
        if row is None:
            return None
        length = LENGTH_NS.get(self.spec.timeframe)
        return self._closes[row] if length is None else start + length

    def works_at(self, moment: int) -> int | None:
        """When an order sent at a moment is worked: then, in a session, else at the next open; None behind the last."""
        row = bisect_right(self._closes, moment)
        return max(moment, self.sessions[row].opens) if row < len(self.sessions) else None


def day_of(moment: int, spec: BarSpec) -> date:
    """The date in the exchange's zone at an instant (UTC nanoseconds)."""
    utc = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment // 1_000_000_000)
    return utc.astimezone(exchange_zone(spec.time_zone)).date()


def screen(symbol: str, last: Bar | None, candidates: Iterable[Bar], table: SessionTable, now: int) -> Screened:
    """Screen the bars of an answer, whatever they hold, behind the `last` known one (None before the first).

    - What isn't complete at `now` (UTC nanoseconds), or lies outside the trading hours of the spec, is passed over.
    - Refused: what `check_bar` finds, a day without a session, duplicates (the first one counts, unless they contradict
      each other), whatever starts before the last known bar, and the two below.
    - A move beyond MAX_LOG_MOVE, until the next bar opens where it led to; a high or low beyond it, for good.
    - A bar with a whole session missing before it, while it is of the newest session: the hole may still be filled.
      Once trading has gone on for another session, it is taken as a fact, and told.
    """
    clean, refused = _clean(symbol, last, candidates, table, now)
    revised = last is not None and clean.pop(last.time, last) != last
    ordered = [clean[time] for time in sorted(clean)]
    newest = max((row for bar in ordered if (row := table.row_of(bar.time)) is not None), default=-1)
    accepted: list[Bar] = []
    for bar, following in zip(ordered, [*ordered, None][1:], strict=True):
        before = accepted[-1] if accepted else last
        reason = _move_reason(before, bar, following, table.spec) or _hole_reason(before, bar, table, newest)
        if reason:
            refused.append(RefusedBar(symbol, bar.time, reason))
            continue
        refused += [RefusedBar(symbol, start, _MISSED) for start in _missing_before(before, bar, table)]
        accepted.append(bar)
    return Screened(tuple(accepted), tuple(refused), revised)


_MISSED = "missing: found no bar of this session, expected one: went on without it"


def _clean(
    symbol: str, last: Bar | None, candidates: Iterable[Bar], table: SessionTable, now: int
) -> tuple[dict[int, Bar], list[RefusedBar]]:
    """The complete bars without faults, by start, and those with some."""
    clean: dict[int, Bar] = {}
    contradicted: set[int] = set()
    refused: list[RefusedBar] = []
    for bar in candidates:
        if _is_passed_over(bar, table, now):
            continue
        reason = _fault(bar, last, clean.get(bar.time), table)
        if reason:
            refused.append(RefusedBar(symbol, bar.time, reason))
            if reason == _CONTRADICTED:
                contradicted.add(bar.time)
        else:
            clean[bar.time] = bar
    return {time: bar for time, bar in clean.items() if time not in contradicted}, refused


_CONTRADICTED = "duplicate with other numbers: found two bars of one start, expected one: neither is used"


def _is_passed_over(bar: Bar, table: SessionTable, now: int) -> bool:
    """Whether a bar is of no interest: still forming, or within the day and outside the trading hours."""
    if bar.time == MISSING:
        return False
    end = table.end_of(bar.time)
    if end is None:
        return table.spec.timeframe != "1Day"
    return end > now


def _fault(bar: Bar, last: Bar | None, same: Bar | None, table: SessionTable) -> str:
    """Why a bar by itself, or beside an earlier one of the same start, can't be used; empty where it can."""
    if bar.time == MISSING:
        return "time: found none that can be read, expected RFC 3339"
    reasons = [fault.reason for fault in check_bar(bar, table.spec)]
    if reasons:
        return "; ".join(reasons)
    if last is not None and bar.time < last.time:
        return "late: found a bar that starts before the last known one, expected later ones: it isn't used"
    if table.row_of(bar.time) is None:
        return "no session: found a daily bar of a day without trading, expected only days of the venue's calendar"
    if same is None:
        return ""
    return "duplicate: found a bar a second time: it counts once" if bar == same else _CONTRADICTED


def _move_reason(before: Bar | None, bar: Bar, following: Bar | None, spec: BarSpec) -> str:
    """Why a bar's prices aren't believed, compared with the close before (its own open, before the first)."""
    limit = MAX_LOG_MOVE[spec.timeframe]
    base = bar.open if before is None else before.close
    low, high = sorted((base, bar.close))
    if math.log(bar.high / high) > limit or math.log(low / bar.low) > limit:
        found = f"found prices from {bar.low:g} to {bar.high:g} around closes of {base:g} and {bar.close:g}"
        return f"spike: {found}, expected at most e^{limit:g} beyond them: it isn't used"
    move = math.log(bar.close / base)
    if abs(move) <= limit or (following is not None and abs(math.log(following.open / bar.close)) <= limit):
        return ""
    found = f"found a close of {bar.close:g} after {base:g}, a move of {move:+.2f} in logarithms"
    waits = "the next bar decides" if following is None else "the next bar doesn't confirm it"
    return f"spike: {found}, expected at most {limit:g}: {waits}"


def _missing_before(before: Bar | None, bar: Bar, table: SessionTable) -> Iterator[int]:
    """When the sessions open (UTC nanoseconds) of which there is no bar between two bars."""
    first = None if before is None else table.row_of(before.time)
    last = table.row_of(bar.time)
    if first is not None and last is not None:
        yield from (session.opens for session in table.sessions[first + 1 : last])


def _hole_reason(before: Bar | None, bar: Bar, table: SessionTable, newest: int) -> str:
    """Why a bar can't be used yet for what is missing before it."""
    missing = [day_of(start, table.spec).isoformat() for start in _missing_before(before, bar, table)]
    if not missing or table.row_of(bar.time) != newest:
        return ""
    days = f"{missing[0]} to {missing[-1]}" if len(missing) > 1 else missing[0]
    return f"hole: found no bar of {days} before it, expected every session: waits for it, or for one more session"
