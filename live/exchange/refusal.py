"""What the venue says no with: status, code and message as Alpaca words them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from live.exchange.order import plain

MAX_CLIENT_ORDER_ID = 128
MIN_COST_BASIS = Decimal(1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal: the HTTP status, Alpaca's code (None: an answer without one), the message, and further fields of
    the answer.
    """

    status: int
    code: int | None
    message: str
    details: Mapping[str, str] = field(default_factory=dict)


def unauthorised() -> Refusal:
    """Wrong keys: an answer without a code."""
    return Refusal(401, None, "unauthorized.")


def malformed(message: str) -> Refusal:
    """A request that can't be read as an order or a query."""
    return Refusal(422, 40010001, message)


def duplicate_client_order_id() -> Refusal:
    """An id that was used before, by an order in whatever state."""
    return malformed("client_order_id must be unique")


def unknown_asset(symbol: str) -> Refusal:
    """An order for a symbol that the venue doesn't list."""
    return Refusal(422, 42210000, f'asset "{symbol}" not found')


def not_active(symbol: str) -> Refusal:
    """An order for a symbol that hasn't traded yet."""
    return Refusal(422, 42210000, f'asset "{symbol}" is not active')


def unprocessable(message: str) -> Refusal:
    """An order that reads well and breaks a rule."""
    return Refusal(422, 42210000, message)


def not_found(message: str) -> Refusal:
    """No such order, position or asset."""
    return Refusal(404, 40410000, message)


def too_small() -> Refusal:
    """An order worth less than the venue takes."""
    return Refusal(403, 40310000, f"cost basis must be >= minimal amount of order {MIN_COST_BASIS}")


def insufficient_buying_power(buying_power: Decimal, cost_basis: Decimal) -> Refusal:
    """An order that opens more than the account can pay."""
    details = {"buying_power": plain(buying_power), "cost_basis": plain(cost_basis)}
    return Refusal(403, 40310000, "insufficient buying power", details)


def insufficient_quantity(symbol: str, requested: Decimal, available: Decimal, held: Decimal) -> Refusal:
    """An order that reduces more than is held and free: also one through zero."""
    message = f"insufficient qty available for order (requested: {plain(requested)}, available: {plain(available)})"
    details = {
        "symbol": symbol,
        "available": plain(available),
        "existing_qty": plain(held),
        "held_for_orders": plain(held - available),
    }
    return Refusal(403, 40310000, message, details)


def wash_trade(existing_order_id: str) -> Refusal:
    """An order that could trade with an open one of the same account."""
    details = {"existing_order_id": existing_order_id, "reject_reason": "opposite side market/limit order exists"}
    return Refusal(403, 40310000, "potential wash trade detected. use complex orders", details)
