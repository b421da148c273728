"""Complete bars from the venue's data API, screened: the history to begin with, and what is new since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import Any

import numpy as np

from live.alpaca import Alpaca
from live.broker import Broker
from live.problem import Kind, Problem
from live.screening import RefusedBar, Screened, SessionTable, day_of, screen
from live.venue import VenueClock, read_instant
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_check import NUMBERS, Columns
from mlflow_ppo_flavor.decision.bar_time import MISSING, exchange_zone, show_time
from mlflow_ppo_flavor.decision.bars import Bar, Bars
from mlflow_ppo_flavor.errors import BarsError, BrokerError, SpecError

__all__ = ["Feed", "Reading", "RefusedBar"]
DATA_FEED = "iex"
BARS_A_SESSION = MappingProxyType({"1Day": 1, "1Hour": 7, "1Min": 390})
GRACE_SECONDS = MappingProxyType({"1Day": 900.0, "1Hour": 300.0, "1Min": 45.0})
"""{timeframe: how long after the open that its order was meant for a bar may still be decided on}."""
_WIDENINGS = 4
_PAGE, _MAX_PAGES = 10_000, 1_000
_AHEAD = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a look at the data brought: `bars` with the `new` ones at their end, and what was refused since the last
    look.

    `revised`: the venue changed bars that were known (a dividend moves all adjusted prices), so all were read anew.
    """

    bars: Bars
    new: int
    refused: tuple[RefusedBar, ...]
    revised: bool = False


class Feed:
    """The bars of one spec: its timeframe and adjustment. Every refusal is told once, not at every look."""

    def __init__(self, client: Alpaca, broker: Broker, spec: BarSpec) -> None:
        """SpecError for a session that this venue doesn't have."""
        if spec.session == "continuous":
            raise SpecError("bars.session", spec.session, "regular or extended", "this feed reads US equities")
        self._client, self._broker, self.spec = client, broker, spec
        self._table = SessionTable((), spec)
        self._covers: tuple[date, date] | None = None
        self._told: dict[str, frozenset[RefusedBar]] = {}

    def history(self, symbol: str, count: int, now: int) -> Bars:
        """The last `count` bars that are complete at `now` (UTC nanoseconds).

        BarsError where there are fewer, BrokerError where the venue can't be asked.
        """
        return self.load(symbol, count, now).bars

    def load(self, symbol: str, count: int, now: int) -> Reading:
        """As `history`, with what was refused on the way. More days are asked for until there are enough bars."""
        days = _days_for(count, self.spec)
        screened, fetched = Screened((), (), revised=False), -1
        for _ in range(_WIDENINGS):
            first = day_of(now, self.spec) - timedelta(days=days)
            candidates = self._fetch(symbol, _midnight(first, self.spec), now)
            screened = screen(symbol, None, candidates, self._sessions(first, now), now)
            if len(screened.accepted) >= count or len(candidates) == fetched:
                break
            days, fetched = days * 2, len(candidates)
        if len(screened.accepted) < count:
            raise BarsError(_too_few(symbol, count, screened))
        bars = _as_bars(screened.accepted[-count:], symbol, self.spec)
        return Reading(bars, count, self._news(symbol, screened.refused))

    def poll(self, symbol: str, bars: Bars, now: int) -> Reading:
        """The bars, which aren't empty, and behind them whatever is new and may be used at `now` (UTC nanoseconds).

        BrokerError where the venue can't be asked.
        """
        last = bars.bar(-1)
        table = self._sessions(day_of(last.time, self.spec), now)
        screened = screen(symbol, last, self._fetch(symbol, last.time, now), table, now)
        if screened.revised:
            return self._read_anew(symbol, bars, now)
        news = self._news(symbol, screened.refused)
        if not screened.accepted:
            return Reading(bars, 0, news)
        added = _as_bars(screened.accepted, symbol, self.spec).columns
        longer = Bars.from_columns(bars.columns.followed_by(added), symbol=symbol, spec=self.spec)
        return Reading(longer, len(screened.accepted), news)

    def late(self, bars: Bars, clock: VenueClock) -> str:
        """Why the last bar can't be decided on any more; empty while it can.

        Its order was meant for the first open after it. Later than GRACE_SECONDS behind that, it would buy another
        price, or newer bars are missing. BrokerError where the venue can't be asked.
        """
        start, grace = int(bars.time[-1]), GRACE_SECONDS[self.spec.timeframe]
        late = self.overdue(bars, clock.now)
        if late <= grace:
            return ""
        found = f"the bar of {show_time(start)} was to be acted on {late:.0f} s ago"
        return f"{found}, expected at most {grace:.0f} s: no decision on it"

    def overdue(self, bars: Bars, now: int) -> float:
        """Seconds since an order decided on the last bar should have been worked; 0 before that."""
        start = int(bars.time[-1])
        table = self._sessions(day_of(start, self.spec), now)
        end = table.end_of(start)
        works_at = None if end is None else table.works_at(end)
        return 0.0 if works_at is None else max(now - works_at, 0) / 1e9

    def _read_anew(self, symbol: str, bars: Bars, now: int) -> Reading:
        """All bars again, as many as there were, with what is new at their end."""
        last = int(bars.time[-1])
        try:
            reading = self.load(symbol, len(bars), now)
        except BarsError as error:
            told = (RefusedBar(symbol, last, f"revised: found other numbers for known bars, and {error}"),)
            return Reading(bars, 0, self._news(symbol, told))
        return Reading(reading.bars, int(np.sum(reading.bars.time > last)), reading.refused, revised=True)

    def _news(self, symbol: str, refused: Sequence[RefusedBar]) -> tuple[RefusedBar, ...]:
        """The refusals that the last look didn't tell."""
        before = self._told.get(symbol, frozenset())
        self._told[symbol] = frozenset(refused)
        return tuple(one for one in refused if one not in before)

    def _sessions(self, first: date, now: int) -> SessionTable:
        """The sessions from a date to some days after `now`; asked for again when the day is over."""
        today = day_of(now, self.spec)
        if self._covers is None or first < self._covers[0] or today != self._covers[1]:
            self._table = SessionTable(self._broker.calendar(first, today + _AHEAD), self.spec)
            self._covers = first, today
        return self._table

    def _fetch(self, symbol: str, start: int, now: int) -> list[Bar]:
        """The bars that start in [start, now], unchecked, page by page."""
        asked = {
            "symbols": symbol,
            "timeframe": self.spec.timeframe,
            "adjustment": self.spec.adjustment,
            "feed": DATA_FEED,
            "start": _rfc3339(start),
            "end": _rfc3339(now),
            "limit": str(_PAGE),
        }
        found: list[Bar] = []
        tokens: set[str] = set()
        while True:
            bars, token = self._client.ask(lambda: read_page(self._client.data.get("/stocks/bars", asked), symbol))
            found += bars
            if token is None:
                return found
            if token in tokens or len(tokens) >= _MAX_PAGES:
                raise _unreadable(f"found page {token!r} again or too many pages, expected an end")
            tokens.add(token)
            asked["page_token"] = token


def read_page(answer: object, symbol: str) -> tuple[list[Bar], str | None]:
    """One page of bars, unchecked, and the token of the next one. BrokerError for what is no page of bars.

    Numbers stay as they came, None and text too: a bad one costs its bar, not the page. A start that can't be read is
    MISSING.
    """
    if not isinstance(answer, Mapping) or "bars" not in answer:
        raise _unreadable("found an answer without bars, expected a page of them")
    of_symbol = (answer["bars"] or {}).get(symbol) if isinstance(answer["bars"], Mapping | None) else "bars"
    token = answer.get("next_page_token")
    if not isinstance(of_symbol, list | None) or not isinstance(token, str | None):
        raise _unreadable("found bars or a page token of another shape, expected a list and a string")
    return [_read_bar(bar) for bar in of_symbol or ()], token or None


def _read_bar(told: object) -> Bar:
    bar: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    try:
        start = read_instant(bar.get("t"), "t")
    except SpecError:
        start = MISSING
    return Bar(start, *(bar.get(name[0]) for name in NUMBERS))  # type: ignore[arg-type]


def _as_bars(bars: Sequence[Bar], symbol: str, spec: BarSpec) -> Bars:
    """Screened bars as a table, checked once more as a whole."""
    times = np.array([bar.time for bar in bars], dtype=np.int64)
    numbers = (np.array([getattr(bar, name) for bar in bars], dtype=np.float64) for name in NUMBERS)
    return Bars.from_columns(Columns(times, *numbers), symbol=symbol, spec=spec)


def _days_for(count: int, spec: BarSpec) -> int:
    """Calendar days in which the venue has `count` bars and some more: five sessions a week, less the holidays."""
    sessions = count / BARS_A_SESSION[spec.timeframe]
    return int(sessions * 1.5) + 21


def _too_few(symbol: str, count: int, screened: Screened) -> str:
    why = f"; {len(screened.refused)} refused, the first: {screened.refused[0].reason}" if screened.refused else ""
    found = f"found {len(screened.accepted)} complete bars, expected {count}{why}"
    return f"{symbol}: {found}: trade a symbol with a longer history, or wait"


def _midnight(day: date, spec: BarSpec) -> int:
    """UTC nanoseconds of a date's start in the exchange's zone."""
    return int(datetime.combine(day, time(), exchange_zone(spec.time_zone)).timestamp()) * 1_000_000_000


def _rfc3339(moment: int) -> str:
    """UTC nanoseconds as RFC 3339, exact."""
    return f"{datetime.fromtimestamp(moment // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%S}.{moment % 1_000_000_000:09d}Z"


def _unreadable(message: str) -> BrokerError:
    problem = Problem(Kind.UNREADABLE, "GET /v2/stocks/bars", 200, None, message)
    return BrokerError(problem.text, problem)
