"""Laws of the venue under random orders: nothing is lost, nothing goes through zero, fills are those of the bars."""

from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from live.exchange.clock import LockstepClock
from live.exchange.order import BUY, DAY, GTC, LIMIT, MARKET, SELL, Order, OrderRequest
from live.exchange.refusal import Refusal
from live.exchange.tape import Tape
from live.exchange.venue import Exchange
from tests import tiers
from training.series import mean_reverting_bars

SYMBOLS = ("ONE", "TWO")
TAPE = Tape({name: mean_reverting_bars(length=30, seed=seed, symbol=name) for seed, name in enumerate(SYMBOLS)})
SPREAD_BPS, CASH = 7.0, 10_000
WHOLE, PARTS = st.integers(1, 60).map(Decimal), st.integers(1, 60_000).map(lambda n: Decimal(n) / 1000)


class Trading(RuleBasedStateMachine):
    """Any orders, cancels, closings and moves of the clock; the laws hold after each."""

    @initialize()
    def open_account(self) -> None:
        clock = LockstepClock(TAPE, TAPE.time_at(TAPE.after_closes(0, 1)))
        self.exchange = Exchange(TAPE, clock, cash=Decimal(CASH), spread_bps=SPREAD_BPS)

    @rule(
        symbol=st.sampled_from(SYMBOLS),
        side=st.sampled_from([BUY, SELL]),
        quantity=st.one_of(WHOLE, PARTS),
        in_force=st.sampled_from([DAY, GTC]),
        distance=st.one_of(st.none(), st.integers(-8, 8)),
    )
    def order(self, symbol: str, side: int, quantity: Decimal, in_force: str, distance: int | None) -> None:
        """A market order, or a limit order some percent away from the last price."""
        limit = None if distance is None else round(self._price(symbol) * (1 + Decimal(distance) / 100), 2)
        kind = MARKET if limit is None else LIMIT
        self._submit(OrderRequest(symbol, side, kind, in_force, quantity=quantity, limit_price=limit))

    @rule(symbol=st.sampled_from(SYMBOLS), side=st.sampled_from([BUY, SELL]), cents=st.integers(50, 900_000))
    def order_by_notional(self, symbol: str, side: int, cents: int) -> None:
        self._submit(OrderRequest(symbol, side, MARKET, DAY, notional=Decimal(cents) / 100))

    @rule(symbol=st.sampled_from(SYMBOLS), percent=st.integers(1, 100))
    def close(self, symbol: str, percent: int) -> None:
        order = self.exchange.close_position(symbol, percentage=Decimal(percent))
        if isinstance(order, Order):
            self.exchange.work(symbol)

    @rule(which=st.integers(0, 5))
    def cancel(self, which: int) -> None:
        orders = self.exchange.book.open_orders()
        if which < len(orders):
            assert self.exchange.cancel(orders[which].order_id) is None
            assert isinstance(self.exchange.cancel(orders[which].order_id), Refusal)

    @rule(events=st.integers(1, 3))
    def advance(self, events: int) -> None:
        self.exchange.clock.advance_events(events)
        self.exchange.catch_up()

    @invariant()
    def nothing_is_lost(self) -> None:
        """Cash and positions are what the executions sum to, in fractions; equity is both at the tape's prices."""
        book, position = self.exchange.book, self.exchange.clock.moment().position
        fills = [(run.symbol, Fraction(run.fill.quantity), written(run.fill.price)) for run in book.executions]
        cash = CASH - sum(quantity * price for _, quantity, price in fills)
        held = {name: sum((q for symbol, q, _ in fills if symbol == name), Fraction(0)) for name in SYMBOLS}
        worth = sum(held[name] * written(TAPE.price(name, position)) for name in SYMBOLS)
        assert Fraction(book.cash) == cash
        assert {name: Fraction(book.held(name)) for name in SYMBOLS} == held
        assert set(book.positions) == {name for name in SYMBOLS if held[name]}
        assert Fraction(book.equity) == cash + worth

    @invariant()
    def no_position_goes_through_zero(self) -> None:
        for name in SYMBOLS:
            runs = [run.fill.quantity for run in self.exchange.book.executions if run.symbol == name]
            assert all(before * after >= 0 for before, after in pairwise(accumulate(runs, initial=Decimal(0))))

    @invariant()
    def every_fill_is_one_that_its_bar_allows(self) -> None:
        """At the open less the spread, or at the limit where the bar's range met it; never before the order came."""
        for run in self.exchange.book.executions:
            order = self.exchange.book.order(run.order_id)
            bars, side = TAPE.bars[run.symbol], order.request.side
            row = max(r for r in range(len(bars)) if bars.time[r] <= run.fill.time)
            assert run.fill.time >= order.submitted_at
            assert run.fill.fee == 0.0
            at_open = bars.open[row] * (1.0 + side * SPREAD_BPS * 1e-4)
            limit = order.request.limit_price
            if run.fill.price != at_open:
                assert run.fill.price == float(limit)
                assert (
                    bars.low[row] <= run.fill.price <= bars.high[row] or side * run.fill.price >= side * bars.open[row]
                )
            if limit is not None:
                assert side * written(run.fill.price) <= side * Fraction(limit)

    @invariant()
    def what_is_free_is_never_negative(self) -> None:
        book, now = self.exchange.book, self.exchange.clock.moment().now
        assert book.buying_power() >= 0
        for name in SYMBOLS:
            reducing = [o.size for o in book.open_orders(name) if o.request.side * book.held(name) < 0]
            assert sum(reducing) <= abs(book.held(name))
        assert all(order.expires_at > now for order in book.open_orders())

    def _price(self, symbol: str) -> Decimal:
        return Decimal(repr(TAPE.price(symbol, self.exchange.clock.moment().position)))

    def _submit(self, request: OrderRequest) -> None:
        before = len(self.exchange.book.orders)
        placed = self.exchange.submit(request)
        assert len(self.exchange.book.orders) == before + isinstance(placed, Order)
        if isinstance(placed, Order):
            self.exchange.work(request.symbol)
        else:
            assert placed.status in (403, 422)


def written(number: float) -> Fraction:
    """The number as it is written down."""
    return Fraction(repr(float(number)))


class TestTrading(Trading.TestCase):
    settings = settings(max_examples=tiers.EXAMPLES, stateful_step_count=tiers.STATEFUL_STEPS)
