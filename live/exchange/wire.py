"""What goes over the wire: the venue's values as Alpaca's JSON. Decimals go as strings, exact; times as RFC 3339 with
nanoseconds.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pandas as pd

from live.exchange.calendar import ZONE, Session
from live.exchange.clock import Moment
from live.exchange.order import BUY, QUANTITY_STEP, Order, Position, plain
from live.exchange.refusal import Refusal
from live.exchange.venue import Exchange, asset_id
from mlflow_ppo_flavor.decision.bar_time import exchange_zone
from mlflow_ppo_flavor.decision.bars import Bar

_CENT = "0.01"
_ACCOUNT_NUMBER = "SIM000001"


def number(value: Decimal | float) -> str:
    """A number as Alpaca writes it; a float reads back to the bit."""
    return plain(value if isinstance(value, Decimal) else Decimal(repr(value)))


def utc(time: int | None) -> str | None:
    """An instant (UTC nanoseconds) as RFC 3339 in UTC, or None."""
    if time is None:
        return None
    return f"{pd.Timestamp(time, unit='ns'):%Y-%m-%dT%H:%M:%S}.{time % 1_000_000_000:09d}Z"


def local(time: int) -> str:
    """An instant as RFC 3339 in the venue's zone, as the clock tells it."""
    stamp = pd.Timestamp(time, unit="ns", tz="UTC").tz_convert(exchange_zone(ZONE))
    offset = f"{stamp:%z}"
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{time % 1_000_000_000:09d}{offset[:3]}:{offset[3:]}"


def refusal_json(refusal: Refusal) -> dict[str, Any]:
    """A refusal's body: code (where there is one), message and what else Alpaca tells."""
    code = {} if refusal.code is None else {"code": refusal.code}
    return {**code, "message": refusal.message, **refusal.details}


def order_json(order: Order) -> dict[str, Any]:
    """An order with all fields that Alpaca sends; what isn't simulated is null."""
    asked = order.request
    return {
        "id": order.order_id,
        "client_order_id": order.client_order_id,
        "created_at": utc(order.submitted_at),
        "updated_at": utc(order.updated_at),
        "submitted_at": utc(order.submitted_at),
        "filled_at": utc(order.filled_at),
        "expired_at": utc(order.expired_at),
        "expires_at": utc(order.expires_at),
        "canceled_at": utc(order.canceled_at),
        "failed_at": None,
        "replaced_at": None,
        "replaced_by": None,
        "replaces": None,
        "asset_id": asset_id(asked.symbol),
        "symbol": asked.symbol,
        "asset_class": "us_equity",
        "notional": None if asked.notional is None else number(asked.notional),
        "qty": None if asked.quantity is None else number(asked.quantity),
        "filled_qty": number(order.filled_quantity),
        "filled_avg_price": None if order.filled_price is None else number(order.filled_price),
        "order_class": "simple",
        "order_type": asked.kind,
        "type": asked.kind,
        "side": "buy" if asked.side == BUY else "sell",
        "time_in_force": asked.time_in_force,
        "limit_price": None if asked.limit_price is None else number(asked.limit_price),
        "stop_price": None,
        "status": order.status,
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
    }


def position_json(exchange: Exchange, position: Position) -> dict[str, Any]:
    """A position at the last price; a short's quantity and value are negative."""
    value = exchange.position_value(position)
    cost = position.quantity * position.entry_price
    available = exchange.book.available(position.symbol)
    return {
        "asset_id": asset_id(position.symbol),
        "symbol": position.symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": True,
        "qty": number(position.quantity),
        "qty_available": number(available.copy_sign(position.quantity)),
        "avg_entry_price": number(position.entry_price),
        "side": "long" if position.quantity > 0 else "short",
        "market_value": number(value),
        "cost_basis": number(cost),
        "unrealized_pl": number(value - cost),
        "unrealized_plpc": number((value - cost) / abs(cost)),
        "current_price": number(exchange.book.marks[position.symbol]),
    }


def account_json(exchange: Exchange, moment: Moment) -> dict[str, Any]:
    """The account: cash, equity and buying power, without leverage. The pattern-day-trader fields are gone, as at
    Alpaca.
    """
    book = exchange.book
    values = list(book.values())
    power = number(book.buying_power())
    return {
        "id": exchange.account_id,
        "account_number": _ACCOUNT_NUMBER,
        "status": "ACTIVE",
        "currency": "USD",
        "cash": number(book.cash),
        "equity": number(book.equity),
        "last_equity": number(exchange.last_equity(moment)),
        "portfolio_value": number(book.equity),
        "buying_power": power,
        "regt_buying_power": power,
        "non_marginable_buying_power": power,
        "long_market_value": number(sum((value for value in values if value > 0), Decimal(0))),
        "short_market_value": number(sum((value for value in values if value < 0), Decimal(0))),
        "multiplier": "1",
        "shorting_enabled": True,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "accrued_fees": "0",
        "created_at": utc(exchange.created_at),
    }


def asset_json(symbol: str, *, active: bool) -> dict[str, Any]:
    """A US equity; it can't be traded before its first bar."""
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": "NASDAQ",
        "symbol": symbol,
        "name": f"{symbol} (simulated)",
        "status": "active" if active else "inactive",
        "tradable": active,
        "marginable": True,
        "shortable": True,
        "easy_to_borrow": True,
        "fractionable": True,
        "min_order_size": number(QUANTITY_STEP),
        "min_trade_increment": number(QUANTITY_STEP),
        "price_increment": _CENT,
        "maintenance_margin_requirement": 100,
        "attributes": [],
    }


def clock_json(exchange: Exchange, moment: Moment) -> dict[str, Any]:
    """The clock, in the venue's zone."""
    calendar = exchange.tape.calendar
    upcoming, next_open = calendar.upcoming(moment.now), calendar.next_open(moment.now)
    return {
        "timestamp": local(moment.now),
        "is_open": calendar.at(moment.now) is not None,
        "next_open": None if next_open is None else local(next_open),
        "next_close": None if upcoming is None else local(upcoming.closes),
    }


def session_json(session: Session) -> dict[str, str]:
    """A day of the calendar: open and close as HH:MM at the venue."""
    return {
        "date": session.day.isoformat(),
        "open": local(session.opens)[11:16],
        "close": local(session.closes)[11:16],
        "session_open": "0400",
        "session_close": "2000",
    }


def bar_json(bar: Bar) -> dict[str, Any]:
    """A bar. Files tell neither trade count nor volume-weighted price: both are null."""
    volume = int(bar.volume) if bar.volume.is_integer() else bar.volume
    start = f"{pd.Timestamp(bar.time, unit='ns'):%Y-%m-%dT%H:%M:%SZ}"
    return {"t": start, "o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close, "v": volume, "n": None, "vw": None}
