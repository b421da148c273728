"""The venue's account, clock, calendar, assets, positions and orders, as values; every failure is a BrokerError."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import quote

from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from live.alpaca import Alpaca
from live.problem import Kind, Problem
from live.ticket import ABSENT, OrderReport, Ticket
from live.venue import (
    BrokerAccount,
    Session,
    VenueClock,
    read_account,
    read_clock,
    read_instrument,
    read_order,
    read_position,
    read_positions,
    read_sessions,
)
from mlflow_ppo_flavor.decision.account import ZERO
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.errors import BrokerError, SpecError

__all__ = ["Broker", "BrokerAccount", "Session", "VenueClock"]
T = TypeVar("T")
_NO_SUCH_THING = 40410000
"""The code by which the venue itself says that it has no such order or position: a proxy's 404 says nothing."""


class Broker:
    """One account at Alpaca. Reads are tried again a few times where that may help; orders are sent once.

    alpaca-py's clients are used below their models, by their own `get` and `post`: the models cut nanoseconds, send
    quantities as floats, and lose a whole answer for one field that they don't know.
    """

    def __init__(self, client: Alpaca) -> None:
        self._client = client

    def clock(self) -> VenueClock:
        """The venue's time."""
        return self._get("/clock", read_clock)

    def account(self) -> BrokerAccount:
        """Money, and whether orders are taken."""
        return self._get("/account", read_account)

    def positions(self) -> Mapping[str, Decimal]:
        """All positions, signed; a symbol that isn't held is absent. A query that fails raises: it is never flat."""
        return self._get("/positions", read_positions)

    def position(self, symbol: str) -> Decimal:
        """The signed position in a symbol; 0 only where the venue itself says that there is none."""
        try:
            return self._get(f"/positions/{quote(symbol, safe='')}", lambda data: read_position(data, symbol))
        except BrokerError as error:
            if _is_absence(error):
                return ZERO
            raise

    def instrument(self, symbol: str) -> Instrument:
        """What may be ordered of a symbol; BrokerError also where it can't be traded."""
        return self._get(f"/assets/{quote(symbol, safe='')}", lambda data: read_instrument(data, symbol))

    def calendar(self, start: date, end: date) -> tuple[Session, ...]:
        """The sessions from one date to another, both included, in order; with their early closes."""
        return self._get("/calendar", read_sessions, {"start": start.isoformat(), "end": end.isoformat()})

    def submit(self, ticket: Ticket) -> OrderReport:
        """Send a market order for the day, once. BrokerError, whose problem may be ambiguous: then it may stand."""
        body = order_body(ticket)

        def post() -> OrderReport:
            answer = self._client.trading.post("/orders", body)
            return _read("POST /v2/orders", lambda data: read_order(data, ticket.client_order_id), answer)

        return self._client.tell(post)

    def lookup(self, client_order_id: str) -> OrderReport:
        """What became of an order; `absent` only where the venue itself says that it has none of this id."""
        given = {"client_order_id": client_order_id}
        try:
            return self._get("/orders:by_client_order_id", lambda data: read_order(data, client_order_id), given)
        except BrokerError as error:
            if _is_absence(error):
                return OrderReport(client_order_id, ABSENT, reason=str(error))
            raise

    def cancel(self, order_id: str) -> None:
        """Take an order back, by the venue's id; BrokerError of kind `over` where it has ended before."""
        self._client.ask(lambda: self._client.trading.cancel_order_by_id(order_id))

    def _get(self, path: str, read: Callable[[Any], T], given: dict[str, str] | None = None) -> T:
        return self._client.ask(lambda: _read(f"GET /v2{path}", read, self._client.trading.get(path, given)))


def order_body(ticket: Ticket) -> dict[str, Any]:
    """A ticket as the venue takes it: a market order for the day; the quantity as a string, exact to the last digit."""
    request = MarketOrderRequest(
        symbol=ticket.symbol,
        qty=float(abs(ticket.quantity)),
        side=OrderSide.BUY if ticket.quantity > 0 else OrderSide.SELL,
        time_in_force=TimeInForce.DAY,
        client_order_id=ticket.client_order_id,
    )
    return request.to_request_fields() | {"qty": f"{abs(ticket.quantity):f}"}


def _read(asked: str, read: Callable[[Any], T], answer: object) -> T:
    """An answer, read; BrokerError where it isn't as expected: it may be as expected a little later."""
    try:
        return read(answer)
    except SpecError as error:
        problem = Problem(Kind.UNREADABLE, asked, 200, None, str(error))
    raise BrokerError(problem.text, problem)


def _is_absence(error: BrokerError) -> bool:
    found = error.problem
    return isinstance(found, Problem) and found.kind is Kind.NOT_FOUND and found.code == _NO_SUCH_THING
