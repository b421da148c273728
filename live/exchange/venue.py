"""Exchange: tape, clock and book put together. Every request first brings the book up to the clock's moment."""

from __future__ import annotations

import random
import uuid
from datetime import date
from decimal import ROUND_DOWN, Decimal

from live.exchange import refusal
from live.exchange.book import Book
from live.exchange.calendar import Session, venue_day
from live.exchange.clock import Clock, Moment
from live.exchange.intake import check_request, reserve_of, size_of
from live.exchange.order import DAY, MARKET, QUANTITY_STEP, Order, OrderRequest, Position
from live.exchange.refusal import Refusal
from live.exchange.tape import OPEN, Tape
from mlflow_ppo_flavor.decision.market import Costs

_GTC_NS = 90 * 86_400_000_000_000
_NAMESPACE = uuid.UUID("6f0f4b0e-7a0e-4c59-9f0b-1c3f5d2f8a11")


class Exchange:
    """The simulated venue, for one account. The same bars, seed, clock moves and requests give the same answers.

    A market order fills at the open of the forming bar: at once where one is forming, else at the next open. Costs
    move the fill price; there is no commission, since Alpaca reports none with an order.
    """

    def __init__(
        self,
        tape: Tape,
        clock: Clock,
        *,
        cash: Decimal = Decimal(100_000),
        spread_bps: float = Costs().spread_bps,
        seed: int = 0,
    ) -> None:
        self.tape = tape
        self.clock = clock
        self.book = Book(cash, Costs(spread_bps=spread_bps, commission_bps=0.0))
        self.closing_equity: dict[date, Decimal] = {}
        self.created_at = clock.moment().now
        self.account_id = str(uuid.uuid5(_NAMESPACE, f"account {seed}"))
        self._cash_at_start = cash
        self._ids = random.Random(seed)  # noqa: S311 -- ids have to be the same in every run, not secret
        self._done = clock.moment().position
        self._mark_at_start()

    def catch_up(self) -> Moment:
        """Let everything happen that lies between the last request and now: fills, expiries, marks."""
        moment = self.clock.moment()
        for event in range(self._done, moment.position):
            self._happen(event)
        self._done = moment.position
        self.book.expire(moment.now)
        return moment

    def submit(self, request: OrderRequest, *, closing: bool = False) -> Order | Refusal:
        """Take an order, or refuse it. It is worked by `work`, so that the answer to the client still shows it
        unfilled.
        """
        moment = self.catch_up()
        price = self.book.marks.get(request.symbol)
        if request.symbol not in self.tape.bars:
            return refusal.unknown_asset(request.symbol)
        session = self.tape.calendar.upcoming(moment.now)
        if price is None or session is None:
            return refusal.not_active(request.symbol)
        least = Decimal(0) if closing else refusal.MIN_COST_BASIS
        refused = check_request(request, self.book, price, least=least)
        if refused is not None:
            return refused
        order = self._order(request, moment, session, price)
        self.book.place(order)
        return order

    def work(self, symbol: str) -> None:
        """Fill what the forming bar's open fills, if one is forming."""
        moment = self.catch_up()
        row = self.tape.forming(symbol, moment.position)
        if row is not None and self.tape.calendar.at(moment.now) is not None:
            self.book.at_open(symbol, moment.now, float(self.tape.bars[symbol].open[row]), whole_bar=False)

    def cancel(self, order_id: str) -> Refusal | None:
        """Take an order back; the refusal where it can't be."""
        moment = self.catch_up()
        order = self.book.order(order_id)
        if order is None:
            return refusal.not_found(f"order not found for {order_id}")
        if not order.is_open:
            return refusal.unprocessable(f'order is already in "{order.status}" state')
        self.book.cancel(order, moment.now)
        return None

    def close_position(
        self, symbol: str, *, quantity: Decimal | None = None, percentage: Decimal | None = None
    ) -> Order | Refusal:
        """Order the sale (or the purchase back) of a position: all of it, a quantity, or a percentage rounded down."""
        self.catch_up()
        position = self.book.positions.get(symbol)
        if position is None:
            return refusal.not_found("position does not exist")
        amount = abs(position.quantity) if quantity is None else quantity
        if percentage is not None:
            amount = (abs(position.quantity) * percentage / 100).quantize(QUANTITY_STEP, rounding=ROUND_DOWN)
        side = -1 if position.quantity > 0 else 1
        return self.submit(OrderRequest(symbol, side, MARKET, DAY, quantity=amount), closing=True)

    def last_equity(self, moment: Moment) -> Decimal:
        """Equity at the last session's close before today, at the venue; the cash at the start before the first."""
        today = venue_day(moment.now)
        return next(
            (self.closing_equity[day] for day in reversed(self.closing_equity) if day < today), self._cash_at_start
        )

    def position_value(self, position: Position) -> Decimal:
        """The signed value of a position at the last price."""
        return position.quantity * self.book.marks[position.symbol]

    def is_active(self, symbol: str) -> bool:
        """Whether a symbol has traded by now."""
        return symbol in self.book.marks

    def _happen(self, event: int) -> None:
        """One event of the tape, for each of its bars in the order of the symbols."""
        time, opening = int(self.tape.times[event]), self.tape.kinds[event] == OPEN
        if opening:
            self.book.expire(time)
        for symbol, row in self.tape.members(event):
            bars = self.tape.bars[symbol]
            if not opening:
                self.book.at_close(
                    symbol, time, *(float(getattr(bars, name)[row]) for name in ("low", "high", "close"))
                )
            elif self.tape.calendar.at(time) is not None:
                self.book.at_open(symbol, time, float(bars.open[row]))
        if not opening:
            self.book.expire(time)
            self.closing_equity[venue_day(time)] = self.book.equity

    def _order(self, request: OrderRequest, moment: Moment, session: Session, price: Decimal) -> Order:
        order_id = self._new_id()
        expires_at = session.closes if request.time_in_force == DAY else moment.now + _GTC_NS
        return Order(
            order_id=order_id,
            client_order_id=request.client_order_id or self._new_id(),
            request=request,
            status="accepted" if self.tape.calendar.at(moment.now) is None else "pending_new",
            submitted_at=moment.now,
            updated_at=moment.now,
            expires_at=expires_at,
            size=size_of(request, price),
            reserved=reserve_of(request, self.book, price),
        )

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def _mark_at_start(self) -> None:
        """The last prices before the first event that the exchange lives through."""
        for symbol in self.tape.symbols:
            price = self.tape.price(symbol, self._done)
            if price is not None:
                self.book.marks[symbol] = Decimal(repr(price))


def asset_id(symbol: str) -> str:
    """The id of a symbol: the same in every run."""
    return str(uuid.uuid5(_NAMESPACE, f"asset {symbol}"))
