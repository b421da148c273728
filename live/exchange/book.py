"""The book: orders, fills, positions and cash of one account. Pure: times, prices and ids come in as arguments.

Money and quantities are Decimals and exact, so cash + positions change by price moves and costs alone, to the last
digit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Context, Decimal

from live.exchange.order import LIMIT, Order, Position, quantity_for
from mlflow_ppo_flavor.decision.market import EXACT, Costs, Fill, fill_at_open

ZERO = Decimal(0)
_MEAN = Context(prec=28)


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill of one order."""

    order_id: str
    symbol: str
    fill: Fill


class Book:
    """One account: `cash`, `positions` and the last price (`marks`) by symbol, `executions` in order.

    Nothing is borrowed: buying power is equity less what is held, long or short, and less what open orders hold.
    """

    def __init__(self, cash: Decimal, costs: Costs) -> None:
        self.cash = cash
        self.costs = costs
        self.positions: dict[str, Position] = {}
        self.marks: dict[str, Decimal] = {}
        self.executions: list[Execution] = []
        self._orders: dict[str, Order] = {}
        self._open: dict[str, None] = {}
        self._by_client_id: dict[str, str] = {}
        self._rested: set[str] = set()

    @property
    def orders(self) -> tuple[Order, ...]:
        """All orders, in the order they came."""
        return tuple(self._orders.values())

    def order(self, order_id: str) -> Order | None:
        """The order of an id, or None."""
        return self._orders.get(order_id)

    def by_client_id(self, client_order_id: str) -> Order | None:
        """The order that a client gave this id, or None."""
        return self._orders.get(self._by_client_id.get(client_order_id, ""))

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """The orders that can still trade, of one symbol or of all, in the order they came."""
        orders = (self._orders[order_id] for order_id in self._open)
        return [order for order in orders if symbol is None or order.request.symbol == symbol]

    def held(self, symbol: str) -> Decimal:
        """The signed quantity of a position, 0 without one."""
        position = self.positions.get(symbol)
        return position.quantity if position else ZERO

    def available(self, symbol: str, *, besides: str = "") -> Decimal:
        """How much of a position (as an amount) no open order is reducing; the order `besides` isn't counted."""
        held = self.held(symbol)
        reducing = (
            order.size
            for order in self.open_orders(symbol)
            if order.request.side * held < 0 and order.order_id != besides
        )
        return max(abs(held) - sum(reducing, ZERO), ZERO)

    @property
    def equity(self) -> Decimal:
        """Cash plus all positions at their last prices."""
        return EXACT.add(self.cash, sum(self.values(), ZERO))

    def values(self) -> Iterator[Decimal]:
        """The signed value of each position at its last price."""
        for position in self.positions.values():
            yield EXACT.multiply(position.quantity, self.marks[position.symbol])

    def buying_power(self) -> Decimal:
        """What orders that open or increase a position may still cost; never below 0."""
        gross = sum((abs(value) for value in self.values()), ZERO)
        reserved = sum((order.reserved for order in self.open_orders()), ZERO)
        return max(self.equity - gross - reserved, ZERO)

    def place(self, order: Order) -> None:
        """Take an order that the intake has let through."""
        self._put(order)
        self._by_client_id[order.client_order_id] = order.order_id

    def cancel(self, order: Order, now: int) -> None:
        """Take an open order back."""
        self._put(replace(order, status="canceled", canceled_at=now, updated_at=now))

    def expire(self, now: int) -> None:
        """End every open order whose time is over at `now`."""
        for order in self.open_orders():
            if order.expires_at <= now:
                over = order.expires_at
                self._put(replace(order, status="expired", expired_at=over, updated_at=over))

    def at_open(self, symbol: str, time: int, price: float, *, whole_bar: bool = True) -> None:
        """A bar of `symbol` opens at `price`: market orders fill there, less costs, and limit orders that this price
        meets.

        `whole_bar` False: orders came while the bar was forming already, and can't claim its range at its close.
        """
        self.marks[symbol] = _exact(price)
        for order in self.open_orders(symbol):
            fill = self._fill_at_open(order, time, price)
            if fill is not None:
                self._apply(order, fill)
            elif order.status != "new":
                self._put(replace(order, status="new", updated_at=time))
            if whole_bar:
                self._rested.add(order.order_id)

    def at_close(self, symbol: str, time: int, low: float, high: float, close: float) -> None:
        """A bar of `symbol` is complete: limit orders that rested in it from its open fill at their limit if its
        range met it.
        """
        for order in self.open_orders(symbol):
            limit = order.request.limit_price
            if limit is None or order.order_id not in self._rested:
                continue
            if low <= limit if order.request.side > 0 else high >= limit:
                self._apply(order, Fill(time, order.request.side * self._size_at(order, limit), float(limit), 0.0))
        self.marks[symbol] = _exact(close)

    def _fill_at_open(self, order: Order, time: int, price: float) -> Fill | None:
        """What an order gets at this price; None for a limit order that would get a worse one than its limit."""
        fill = fill_at_open(Decimal(order.request.side), time, price, self.costs)
        limit = order.request.limit_price
        if order.request.kind == LIMIT and limit is not None:
            side = order.request.side
            if side * _exact(fill.price) > side * limit:
                return None
        signed = order.request.side * self._size_at(order, _exact(fill.price))
        return fill_at_open(signed, time, price, self.costs) if signed else None

    def _size_at(self, order: Order, price: Decimal) -> Decimal:
        """The quantity that an order trades at `price`: a notional buys what it pays for, and sells no more than is
        free.
        """
        if order.request.quantity is not None:
            return order.request.quantity
        quantity = quantity_for(order.request.notional or ZERO, price)
        if order.request.side * self.held(order.request.symbol) < 0:
            return min(quantity, self.available(order.request.symbol, besides=order.order_id))
        return quantity

    def _apply(self, order: Order, fill: Fill) -> None:
        symbol, price = order.request.symbol, _exact(fill.price)
        self.cash = EXACT.subtract(self.cash, EXACT.add(EXACT.multiply(fill.quantity, price), _exact(fill.fee)))
        self._move(symbol, fill.quantity, price)
        self.executions.append(Execution(order.order_id, symbol, fill))
        filled = replace(order, status="filled", filled_quantity=abs(fill.quantity), filled_price=fill.price)
        self._put(replace(filled, filled_at=fill.time, updated_at=fill.time))

    def _move(self, symbol: str, quantity: Decimal, price: Decimal) -> None:
        """The position after a trade: its entry price is the mean of what was opened, and stays where it is reduced."""
        before = self.held(symbol)
        after = EXACT.add(before, quantity)
        if not after:
            del self.positions[symbol]
            return
        entry = price
        if before * quantity > 0:
            paid = EXACT.add(
                EXACT.multiply(before, self.positions[symbol].entry_price), EXACT.multiply(quantity, price)
            )
            entry = _MEAN.divide(paid, after)
        elif before * after > 0:
            entry = self.positions[symbol].entry_price
        self.positions[symbol] = Position(symbol, after, entry)

    def _put(self, order: Order) -> None:
        self._orders[order.order_id] = order
        if order.is_open:
            self._open[order.order_id] = None
        else:
            self._open.pop(order.order_id, None)
            self._rested.discard(order.order_id)


def _exact(number: float) -> Decimal:
    """The decimal number that a float is written as."""
    return Decimal(repr(number))
