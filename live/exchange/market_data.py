"""Bars as the data API gives them: what is visible at a position, filtered, ordered and cut into pages."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from live.exchange.refusal import Refusal
from live.exchange.tape import Tape
from mlflow_ppo_flavor.decision.bars import Bar

DEFAULT_LIMIT, MAX_LIMIT = 1_000, 10_000


@dataclass(frozen=True, slots=True)
class BarQuery:
    """What bars are asked for: symbols in order, starts in [`start`, `end`] (UTC nanoseconds), at most `limit` over
    all symbols.
    """

    symbols: tuple[str, ...]
    start: int
    end: int
    limit: int = DEFAULT_LIMIT
    newest_first: bool = False
    page_token: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page: bars by symbol (a symbol without one is absent), and the token of the next page, or None."""

    bars: dict[str, list[Bar]]
    next_page_token: str | None


def bad_request(message: str) -> Refusal:
    """A query that can't be answered; the data API gives no codes."""
    return Refusal(400, None, message)


def visible_bars(tape: Tape, symbol: str, position: int, start: int, end: int) -> list[Bar]:
    """The bars of a symbol that start in [start, end] and have opened by `position`, oldest first, the forming one
    last.

    The forming bar shows its open alone, and no volume yet.
    """
    bars, done = tape.bars[symbol], tape.completed(symbol, position)
    visible = [bars.bar(row) for row in range(int(bars.time.searchsorted(start)), done) if bars.time[row] <= end]
    row = tape.forming(symbol, position)
    if row is not None and start <= bars.time[row] <= end:
        price = float(bars.open[row])
        visible.append(Bar(int(bars.time[row]), price, price, price, price, 0.0))
    return visible


def latest_bar(tape: Tape, symbol: str, position: int) -> Bar | None:
    """The forming bar, else the last complete one; None before the first, and for an unknown symbol."""
    if symbol not in tape.bars:
        return None
    row = tape.forming(symbol, position)
    newest = tape.completed(symbol, position) - 1 if row is None else row
    if newest < 0:
        return None
    start = int(tape.bars[symbol].time[newest])
    return visible_bars(tape, symbol, position, start, start)[0]


def page_of(tape: Tape, query: BarQuery, position: int) -> Page | Refusal:
    """One page of an answer. `limit` counts over all symbols, in the order of the alphabet, the first filled first."""
    after = _read_token(query.page_token)
    if isinstance(after, Refusal):
        return after
    found = list(islice(_rows(tape, query, position, after), query.limit + 1))
    bars: dict[str, list[Bar]] = {}
    for symbol, bar in found[: query.limit]:
        bars.setdefault(symbol, []).append(bar)
    if len(found) <= query.limit:
        return Page(bars, None)
    symbol, bar = found[query.limit - 1]
    return Page(bars, urlsafe_b64encode(f"{symbol}|{bar.time}".encode()).decode())


def _rows(tape: Tape, query: BarQuery, position: int, after: tuple[str, int] | None) -> Iterator[tuple[str, Bar]]:
    """All (symbol, bar) of an answer behind the last one of the page before."""
    for symbol in sorted(set(query.symbols) & set(tape.bars)):
        if after is not None and symbol < after[0]:
            continue
        rows: Sequence[Bar] = visible_bars(tape, symbol, position, query.start, query.end)
        for bar in reversed(rows) if query.newest_first else rows:
            if after is None or symbol != after[0] or _is_behind(bar.time, after[1], query.newest_first):
                yield symbol, bar


def _is_behind(time: int, last: int, newest_first: bool) -> bool:
    return time < last if newest_first else time > last


def _read_token(token: str | None) -> tuple[str, int] | Refusal | None:
    if token is None:
        return None
    try:
        symbol, _, time = urlsafe_b64decode(token).decode().partition("|")
        return symbol, int(time)
    except ValueError:
        return bad_request("invalid page_token")
