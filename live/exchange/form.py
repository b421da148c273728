"""What clients send, read at the edge: order bodies and the parameters of queries, as values or as a refusal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import pandas as pd

from live.exchange.order import BUY, DAY, GTC, LIMIT, MARKET, SELL, OrderRequest
from live.exchange.refusal import Refusal, malformed, unprocessable

_SIDES = {"buy": BUY, "sell": SELL}
_MAX_DECIMALS = 9
_LARGEST = Decimal(10) ** 12


def read_order(body: bytes) -> OrderRequest | Refusal:
    """An order from a request's body. Numbers may come as JSON numbers or strings; both are read exactly."""
    try:
        data = json.loads(body, parse_float=Decimal, parse_int=Decimal, parse_constant=str)
    except ValueError:
        return malformed("request body format is invalid")
    return _order(data) if isinstance(data, Mapping) else malformed("request body format is invalid")


def read_amount(value: object, name: str) -> Decimal | Refusal | None:
    """A number above 0 with at most 9 decimals, from a string or a Decimal; None where it isn't given."""
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return malformed(f"{name} is invalid")
    if not amount.is_finite() or not 0 < amount <= _LARGEST:
        return malformed(f"{name} must be > 0")
    exponent = amount.normalize().as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -_MAX_DECIMALS:
        return malformed(f"{name} must be limited to {_MAX_DECIMALS} decimal places")
    return amount


def read_instant(text: str, name: str) -> int | Refusal:
    """An instant (UTC nanoseconds) from RFC 3339 or a date; without a zone it is UTC."""
    try:
        stamp = pd.Timestamp(text)
    except ValueError:
        return malformed(f"invalid {name}: {text}")
    utc = stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
    return int(utc.as_unit("ns").value)


def _order(data: Mapping[str, Any]) -> OrderRequest | Refusal:
    side, kind, in_force = data.get("side"), data.get("type"), data.get("time_in_force")
    numbers = {name: read_amount(data.get(name), name) for name in ("qty", "notional", "limit_price")}
    problem = _unreadable(data) or next((value for value in numbers.values() if isinstance(value, Refusal)), None)
    if problem is not None:
        return problem
    quantity, notional, limit_price = (value for value in numbers.values() if not isinstance(value, Refusal))
    return OrderRequest(
        symbol=data["symbol"],
        side=_SIDES[str(side)],
        kind=str(kind),
        time_in_force=str(in_force),
        quantity=quantity,
        notional=notional,
        limit_price=limit_price,
        client_order_id=data.get("client_order_id") or None,
    )


def _unreadable(data: Mapping[str, Any]) -> Refusal | None:
    """The first field that doesn't say what an order has to say, or that asks for what isn't simulated."""
    if not isinstance(data.get("symbol"), str) or not data["symbol"]:
        return malformed("symbol is required")
    if data.get("side") not in _SIDES:
        return malformed("side must be buy or sell")
    if data.get("type") not in (MARKET, LIMIT):
        return unprocessable(f"order type {data.get('type')} is not simulated: use market or limit")
    if data.get("time_in_force") not in (DAY, GTC):
        return unprocessable(f"time_in_force {data.get('time_in_force')} is not simulated: use day or gtc")
    if data.get("order_class") not in (None, "", "simple"):
        return unprocessable(f"order_class {data.get('order_class')} is not simulated: use simple")
    if data.get("extended_hours"):
        return unprocessable("extended_hours is not simulated")
    if (data.get("qty") is None) == (data.get("notional") is None):
        return malformed("exactly one of qty or notional is required")
    if data.get("notional") is not None and data.get("type") != MARKET:
        return unprocessable("notional orders must be market orders")
    if not isinstance(data.get("client_order_id"), str | None):
        return malformed("client_order_id is invalid")
    return None
