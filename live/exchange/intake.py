"""Whether the venue takes an order: Alpaca's rules for US equities, checked in its order, the first refusal told."""

from __future__ import annotations

from decimal import Decimal

from live.exchange import refusal
from live.exchange.book import Book
from live.exchange.order import BUY, DAY, LIMIT, MARKET, SELL, OrderRequest, plain, quantity_for
from live.exchange.refusal import Refusal
from mlflow_ppo_flavor.decision.market import EXACT


def check_request(request: OrderRequest, book: Book, price: Decimal, *, least: Decimal) -> Refusal | None:
    """Why the book can't take an order for a symbol whose last price is `price`, or None.

    `least` is what an order has to be worth: nothing where it closes a position.
    """
    return (
        _check_id(request, book)
        or _check_shape(request)
        or _check_cost_basis(request, price, least)
        or _check_position(request, book, size_of(request, price))
        or _check_buying_power(request, book, price)
    )


def size_of(request: OrderRequest, price: Decimal) -> Decimal:
    """The quantity that an order is for: as given, or its notional at `price`, rounded down to 1e-9."""
    if request.quantity is not None:
        return request.quantity
    return quantity_for(request.notional or Decimal(0), price)


def reserve_of(request: OrderRequest, book: Book, price: Decimal) -> Decimal:
    """The buying power that an order takes while it is open: its worth where it opens or increases, else 0."""
    if _reduces(request, book.held(request.symbol)):
        return Decimal(0)
    return request.notional or EXACT.multiply(size_of(request, price), _worth(request, price))


def _check_id(request: OrderRequest, book: Book) -> Refusal | None:
    given = request.client_order_id
    if given is not None and len(given) > refusal.MAX_CLIENT_ORDER_ID:
        return refusal.malformed(f"client_order_id must be no more than {refusal.MAX_CLIENT_ORDER_ID} characters")
    return refusal.duplicate_client_order_id() if given is not None and book.by_client_id(given) else None


def _check_shape(request: OrderRequest) -> Refusal | None:
    if request.is_fractional and request.time_in_force != DAY:
        return refusal.unprocessable("fractional orders must be DAY orders")
    if request.kind == LIMIT and (request.limit_price is None or request.limit_price <= 0):
        return refusal.malformed("limit orders require limit price > 0")
    if request.kind == MARKET and request.limit_price is not None:
        return refusal.unprocessable("market orders require no stop or limit price")
    if request.limit_price is not None and _decimals(request.limit_price) > (2 if request.limit_price >= 1 else 4):
        found = f"invalid limit_price {plain(request.limit_price)}"
        return refusal.unprocessable(f"{found}. sub-penny increment does not fulfill minimum pricing criteria")
    return None


def _check_cost_basis(request: OrderRequest, price: Decimal, least: Decimal) -> Refusal | None:
    worth = request.notional or EXACT.multiply(size_of(request, price), _worth(request, price))
    return refusal.too_small() if worth < least else None


def _check_position(request: OrderRequest, book: Book, size: Decimal) -> Refusal | None:
    """Refuse what would trade with oneself, reduce more than is free, or short parts of a share."""
    held = book.held(request.symbol)
    for order in book.open_orders(request.symbol):
        if order.request.side != request.side and (not held or _may_cross(request, order.request)):
            return refusal.wash_trade(order.order_id)
    if _reduces(request, held):
        available = book.available(request.symbol)
        if size > available:
            return refusal.insufficient_quantity(request.symbol, size, available, abs(held))
        return None
    if request.side == SELL and request.is_fractional:
        return refusal.unprocessable("fractional orders cannot be sold short")
    return None


def _check_buying_power(request: OrderRequest, book: Book, price: Decimal) -> Refusal | None:
    cost, power = reserve_of(request, book, price), book.buying_power()
    return refusal.insufficient_buying_power(power, cost) if cost > power else None


def _may_cross(one: OrderRequest, other: OrderRequest) -> bool:
    buy, sell = (one, other) if one.side == BUY else (other, one)
    return buy.limit_price is None or sell.limit_price is None or buy.limit_price >= sell.limit_price


def _reduces(request: OrderRequest, held: Decimal) -> bool:
    return held * request.side < 0


def _worth(request: OrderRequest, price: Decimal) -> Decimal:
    """What one share is reckoned at: the limit, else the last price."""
    return price if request.limit_price is None else request.limit_price


def _decimals(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0
