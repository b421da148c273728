"""What the venue tells, read strictly at the edge: clock, account, positions, assets, sessions, orders.

Amounts come as strings and are read exactly; a field that isn't as expected is a SpecError with its dotted path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from live.ticket import OrderReport
from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.decision.account import ZERO
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.bar_time import exchange_zone
from mlflow_ppo_flavor.decision.market import read_decimal
from mlflow_ppo_flavor.errors import SpecError

ZONE = "America/New_York"
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_HOUR = {"pattern": re.compile(r"\d\d:\d\d"), "expected": "HH:MM"}
_BLOCKS = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
_SIDES = {"buy": 1, "sell": -1, "long": 1, "short": -1}


@dataclass(frozen=True, slots=True)
class VenueClock:
    """The venue's time, and when it opens and closes next; all UTC nanoseconds, None where it doesn't say."""

    now: int
    is_open: bool
    next_open: int | None
    next_close: int | None


@dataclass(frozen=True, slots=True)
class BrokerAccount:
    """The account as the venue has it, in its currency. `blocked`: it takes no orders, and `reason` says why."""

    equity: float
    cash: float
    buying_power: float
    blocked: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day: its date at the venue, its open and its close in UTC nanoseconds."""

    day: date
    opens: int
    closes: int


def read_clock(data: object) -> VenueClock:
    """The answer of /v2/clock."""
    clock = _mapping(data, "clock")
    return VenueClock(
        now=parsing.take(clock, "timestamp", "clock", read_instant),
        is_open=parsing.take(clock, "is_open", "clock", parsing.flag),
        next_open=parsing.take(clock, "next_open", "clock", _instant_or_none, None),
        next_close=parsing.take(clock, "next_close", "clock", _instant_or_none, None),
    )


def read_account(data: object) -> BrokerAccount:
    """The answer of /v2/account. An account that isn't ACTIVE is as blocked as one that says so."""
    account = _mapping(data, "account")
    status = parsing.take(account, "status", "account", parsing.text)
    blocks = [name for name in _BLOCKS if parsing.take(account, name, "account", parsing.flag, False)]
    reasons = ([] if status == "ACTIVE" else [f"status {status}"]) + blocks
    money = {name: _money(account.get(name), f"account.{name}") for name in ("equity", "cash", "buying_power")}
    return BrokerAccount(**money, blocked=bool(reasons), reason=", ".join(reasons))


def read_positions(data: object) -> dict[str, Decimal]:
    """The answer of /v2/positions: signed quantities by symbol."""
    found = parsing.sequence(data, "positions", _position)
    if len(dict(found)) != len(found):
        raise SpecError("positions", "a symbol twice", "each once")
    return dict(found)


def read_position(data: object, symbol: str) -> Decimal:
    """The answer of /v2/positions/{symbol}: the signed quantity."""
    found, quantity = _position(data, "position")
    if found != symbol:
        raise SpecError("position.symbol", parsing.show(found), symbol)
    return quantity


def read_instrument(data: object, symbol: str) -> Instrument:
    """The answer of /v2/assets/{symbol}, as what a decision may order; a short needs shares that are easy to borrow.

    SpecError also for an asset that can't be traded now, or that is no US equity.
    """
    asset = _mapping(data, "asset")
    kind, status = (parsing.take(asset, name, "asset", parsing.text) for name in ("class", "status"))
    tradable, shortable, borrow, fractionable = (
        parsing.take(asset, name, "asset", parsing.flag)
        for name in ("tradable", "shortable", "easy_to_borrow", "fractionable")
    )
    if asset.get("symbol") != symbol or kind != "us_equity":
        raise SpecError("asset", f"{asset.get('symbol')}, {kind}", f"{symbol}, us_equity", "trade another symbol")
    if status != "active" or not tradable:
        found = f"{symbol} {status}, tradable {str(tradable).lower()}"
        raise SpecError("asset", found, "an active asset that can be traded", "trade another symbol, or wait")
    usual = Instrument.equity(symbol, fractionable=fractionable, shortable=shortable and borrow)
    told = {
        ours: asset[theirs]
        for ours, theirs in (("step", "min_trade_increment"), ("min_quantity", "min_order_size"))
        if fractionable and asset.get(theirs) is not None
    }
    return Instrument.from_dict(usual.to_dict() | told, "asset")


def read_sessions(data: object) -> tuple[Session, ...]:
    """The answer of /v2/calendar, in order; hours are the venue's local ones, early closes as they are."""
    sessions = parsing.sequence(data, "calendar", _session)
    if any(later.opens < sooner.closes for sooner, later in pairwise(sessions)):
        raise SpecError("calendar", "sessions that overlap or aren't in order", "each after the one before")
    return sessions


def read_order(data: object, client_order_id: str) -> OrderReport:
    """An order as the venue tells it; `filled_quantity` takes its sign from the side.

    A part that filled before the whole did has no `filled_at` yet: then it is the time of the last update.
    """
    order = _mapping(data, "order")
    side = _SIDES[parsing.take(order, "side", "order", parsing.choice, of=("buy", "sell"))]
    filled = read_decimal(order.get("filled_qty") or "0", "order.filled_qty", low=ZERO)
    price = _money(order.get("filled_avg_price"), "order.filled_avg_price") if filled else None
    moment = order.get("filled_at") or order.get("updated_at")
    report = OrderReport.from_dict(
        {
            "client_order_id": order.get("client_order_id"),
            "status": order.get("status"),
            "filled_quantity": f"{_signed(filled, side):f}",
            "average_price": price,
            "filled_at": read_instant(moment, "order.filled_at") if filled else None,
            "reason": "",
            "order_id": order.get("id"),
        },
        "order",
    )
    if report.client_order_id != client_order_id:
        raise SpecError("order.client_order_id", report.client_order_id, client_order_id)
    return report


def read_instant(value: object, path: str) -> int:
    """UTC nanoseconds of an RFC 3339 time with its zone, exact."""
    match = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise SpecError(path, parsing.show(value), "a time such as 2012-10-26T20:00:00Z (RFC 3339)")
    whole, fraction, zone = match.groups()
    try:
        seconds = int(datetime.fromisoformat(whole + zone).astimezone(UTC).timestamp())
    except (ValueError, OverflowError):
        raise SpecError(path, parsing.show(value), "a time that exists") from None
    return seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))


def _position(data: object, path: str) -> tuple[str, Decimal]:
    """Symbol and signed quantity; the side decides the sign, the quantity may carry it too."""
    position = _mapping(data, path)
    side = _SIDES[parsing.take(position, "side", path, parsing.choice, of=("long", "short"))]
    quantity = parsing.take(position, "qty", path, read_decimal)
    if quantity < 0 < side:
        raise SpecError(parsing.join(path, "qty"), f"{quantity:f} with side long", "a quantity above 0")
    return parsing.take(position, "symbol", path, parsing.text, empty=False), _signed(quantity.copy_abs(), side)


def _signed(quantity: Decimal, side: int) -> Decimal:
    """A quantity with the sign of its side, exact; 0 has none."""
    return quantity.copy_negate() if side < 0 and quantity else quantity


def _session(data: object, path: str) -> Session:
    told = _mapping(data, path)
    day = parsing.take(told, "date", path, parsing.text)
    opens, closes = (parsing.take(told, name, path, parsing.name, **_HOUR) for name in ("open", "close"))
    try:
        hours = [
            datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=exchange_zone(ZONE)) for clock in (opens, closes)
        ]
        session = Session(hours[0].date(), *(int(hour.timestamp()) * 1_000_000_000 for hour in hours))
    except ValueError:
        raise SpecError(path, f"{day} {opens} to {closes}", "a date and two times") from None
    if session.opens >= session.closes:
        raise SpecError(path, f"{opens} to {closes}", "an open before the close")
    return session


def _mapping(data: object, path: str) -> Mapping[str, Any]:
    """A JSON object with whatever fields: a venue adds some now and then."""
    if not isinstance(data, Mapping):
        raise SpecError(path, parsing.show(data), "a mapping")
    return data


def _money(value: object, path: str) -> float:
    """A finite number from its string (or a JSON number)."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SpecError(path, parsing.show(value), "a finite number as a string")
    return number


def _instant_or_none(value: object, path: str) -> int | None:
    return None if value is None else read_instant(value, path)
