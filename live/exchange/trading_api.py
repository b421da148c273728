"""The trading API (/v2): account, clock, calendar, assets, orders, positions."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from live.exchange import refusal, wire
from live.exchange.form import read_amount, read_instant, read_order
from live.exchange.order import Order
from live.exchange.refusal import Refusal
from live.exchange.reply import reply
from live.exchange.venue import Exchange, asset_id

MAX_ORDERS = 500
_FIRST, _LAST = date(1970, 1, 1), date(2100, 1, 1)


def trading_routes(exchange: Exchange) -> APIRouter:
    """The routes of the trading API over one exchange."""
    routes = APIRouter(prefix="/v2")
    _add_account(routes, exchange)
    _add_orders(routes, exchange)
    _add_order(routes, exchange)
    _add_positions(routes, exchange)
    return routes


def _add_account(routes: APIRouter, exchange: Exchange) -> None:
    @routes.get("/account")
    async def account() -> Response:
        return reply(wire.account_json(exchange, exchange.catch_up()))

    @routes.get("/clock")
    async def clock() -> Response:
        return reply(wire.clock_json(exchange, exchange.catch_up()))

    @routes.get("/calendar")
    async def calendar(start: date = _FIRST, end: date = _LAST) -> Response:
        return reply([wire.session_json(session) for session in exchange.tape.calendar.between(start, end)])

    @routes.get("/assets")
    async def assets(status: str = "", asset_class: str = "us_equity") -> Response:
        exchange.catch_up()
        listed = [wire.asset_json(symbol, active=exchange.is_active(symbol)) for symbol in exchange.tape.symbols]
        wanted = [asset for asset in listed if asset_class == "us_equity" and status in ("", asset["status"])]
        return reply(wanted)

    @routes.get("/assets/{symbol_or_id}")
    async def asset(symbol_or_id: str) -> Response:
        exchange.catch_up()
        symbol = _symbol(exchange, symbol_or_id)
        if symbol not in exchange.tape.bars:
            return reply(refusal.not_found(f"asset not found for {symbol_or_id}"))
        return reply(wire.asset_json(symbol, active=exchange.is_active(symbol)))


def _add_orders(routes: APIRouter, exchange: Exchange) -> None:
    @routes.post("/orders")
    async def submit(request: Request) -> Response:
        asked = read_order(await request.body())
        return _placed(exchange, asked if isinstance(asked, Refusal) else exchange.submit(asked))

    @routes.get("/orders")
    async def orders(
        status: Literal["open", "closed", "all"] = "open",
        limit: Annotated[int, Query(ge=1, le=MAX_ORDERS)] = 50,
        after: str = "",
        until: str = "",
        direction: Literal["asc", "desc"] = "desc",
        symbols: str = "",
        side: str = "",
    ) -> Response:
        exchange.catch_up()
        first, last = (read_instant(text, "time") if text else None for text in (after, until))
        if isinstance(first, Refusal) or isinstance(last, Refusal):
            return reply(next(bound for bound in (first, last) if isinstance(bound, Refusal)))
        found = [
            order
            for order in exchange.book.orders
            if (status == "all" or order.is_open == (status == "open"))
            and (first is None or order.submitted_at > first)
            and (last is None or order.submitted_at < last)
            and (not symbols or order.request.symbol in symbols.split(","))
            and (not side or wire.order_json(order)["side"] == side)
        ]
        ordered = found if direction == "asc" else found[::-1]
        return reply([wire.order_json(order) for order in ordered[:limit]])

    @routes.delete("/orders")
    async def cancel_all() -> Response:
        exchange.catch_up()
        cancelled = [order.order_id for order in exchange.book.open_orders()]
        for order_id in cancelled:
            exchange.cancel(order_id)
        return reply([{"id": order_id, "status": 200} for order_id in cancelled], 207)


def _add_order(routes: APIRouter, exchange: Exchange) -> None:
    @routes.get("/orders:by_client_order_id")
    async def by_client_id(client_order_id: str) -> Response:
        exchange.catch_up()
        return _found(exchange.book.by_client_id(client_order_id), client_order_id)

    @routes.get("/orders/{order_id}")
    async def by_id(order_id: str) -> Response:
        exchange.catch_up()
        return _found(exchange.book.order(order_id), order_id)

    @routes.delete("/orders/{order_id}")
    async def cancel(order_id: str) -> Response:
        refused = exchange.cancel(order_id)
        return Response(status_code=204) if refused is None else reply(refused)


def _add_positions(routes: APIRouter, exchange: Exchange) -> None:
    @routes.get("/positions")
    async def positions() -> Response:
        exchange.catch_up()
        return reply([wire.position_json(exchange, held) for held in exchange.book.positions.values()])

    @routes.get("/positions/{symbol_or_id}")
    async def position(symbol_or_id: str) -> Response:
        exchange.catch_up()
        held = exchange.book.positions.get(_symbol(exchange, symbol_or_id))
        if held is None:
            return reply(refusal.not_found("position does not exist"))
        return reply(wire.position_json(exchange, held))

    @routes.delete("/positions/{symbol_or_id}")
    async def close(symbol_or_id: str, qty: str | None = None, percentage: str | None = None) -> Response:
        amount, share = read_amount(qty, "qty"), read_amount(percentage, "percentage")
        if isinstance(amount, Refusal) or isinstance(share, Refusal):
            return reply(next(number for number in (amount, share) if isinstance(number, Refusal)))
        if share is not None and share > Decimal(100):
            return reply(refusal.malformed("percentage must be <= 100"))
        symbol = _symbol(exchange, symbol_or_id)
        return _placed(exchange, exchange.close_position(symbol, quantity=amount, percentage=share))

    @routes.delete("/positions")
    async def close_all(cancel_orders: bool = False) -> Response:
        exchange.catch_up()
        for order in exchange.book.open_orders() if cancel_orders else []:
            exchange.cancel(order.order_id)
        return reply([_closed(exchange, symbol) for symbol in list(exchange.book.positions)], 207)


def _placed(exchange: Exchange, order: Order | Refusal) -> Response:
    """The answer to an order: as it was taken. It is worked only after that, as at a venue: the answer is not the
    fill.
    """
    answer = reply(order if isinstance(order, Refusal) else wire.order_json(order))
    if isinstance(order, Order):
        exchange.work(order.request.symbol)
    return answer


def _closed(exchange: Exchange, symbol: str) -> dict[str, object]:
    order = exchange.close_position(symbol)
    if isinstance(order, Refusal):
        return {"symbol": symbol, "status": order.status, "body": wire.refusal_json(order)}
    body = wire.order_json(order)
    exchange.work(symbol)
    return {"symbol": symbol, "status": 200, "order_id": order.order_id, "body": body}


def _found(order: Order | None, given: str) -> Response:
    return reply(refusal.not_found(f"order not found for {given}") if order is None else wire.order_json(order))


def _symbol(exchange: Exchange, symbol_or_id: str) -> str:
    """The symbol of an asset id; anything else as it is."""
    return next((symbol for symbol in exchange.tape.symbols if asset_id(symbol) == symbol_or_id), symbol_or_id)
