"""The venue's edges, without HTTP: exact limits, orders that meet nothing, orders that outlive a session."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from live.exchange.clock import AcceleratedClock
from live.exchange.order import BUY, DAY, GTC, LIMIT, MARKET, SELL, Order, OrderRequest
from live.exchange.refusal import Refusal
from live.exchange.tape import Tape
from live.exchange.venue import Exchange
from mlflow_ppo_flavor.contract.spec import BarSpec
from tests.live.exchange.venues import AAA_ROWS, WEEK, Row, bars_of, exchange_of, instant, week_of_bars

HOURS, MINUTES = BarSpec("1Hour", "raw"), BarSpec("1Min", "raw")


def market(side: int, quantity: str, symbol: str = "AAA") -> OrderRequest:
    return OrderRequest(symbol, side, MARKET, DAY, quantity=Decimal(quantity))


def limit(side: int, price: str, quantity: str = "1", in_force: str = DAY) -> OrderRequest:
    return OrderRequest("AAA", side, LIMIT, in_force, quantity=Decimal(quantity), limit_price=Decimal(price))


def placed(exchange: Exchange, request: OrderRequest) -> Order:
    order = exchange.submit(request)
    assert isinstance(order, Order)
    exchange.work(request.symbol)
    return order


def message(exchange: Exchange, request: OrderRequest) -> str:
    answer = exchange.submit(request)
    assert isinstance(answer, Refusal)
    return answer.message


def status(exchange: Exchange, order: Order) -> str:
    exchange.catch_up()
    return exchange.book.order(order.order_id).status


@pytest.mark.parametrize(
    ("side", "price", "outcome"),
    [
        (BUY, "11", "filled"),
        (BUY, "10.99", "expired"),
        (SELL, "13", "filled"),
        (SELL, "13.01", "expired"),
    ],
)
def test_a_limit_is_met_when_the_range_touches_it(side: int, price: str, outcome: str) -> None:
    """A day between 11 and 13 that opens at 12."""
    days = [(12.0, 13.0, 11.0, 12.0, 1.0)] * 2
    exchange = exchange_of({"AAA": bars_of("AAA", days, WEEK[:2])})
    order = placed(exchange, limit(side, price))
    exchange.clock.advance_bars(1)
    assert status(exchange, order) == outcome


def test_a_limit_equal_to_the_open_is_met_there() -> None:
    days = [(10.0, 10.0, 10.0, 10.0, 1.0)] * 2
    exchange = exchange_of({"AAA": bars_of("AAA", days, WEEK[:2])}, spread_bps=0.0)
    order = placed(exchange, limit(BUY, "10"))
    exchange.clock.advance_events(1)
    assert status(exchange, order) == "filled"
    assert exchange.book.order(order.order_id).filled_price == 10.0


def test_orders_on_both_sides_of_nothing_are_refused_however_far_apart() -> None:
    """Both could fill in one bar, and take the position through zero."""
    exchange = exchange_of(week_of_bars())
    placed(exchange, limit(BUY, "9"))
    assert message(exchange, limit(SELL, "20", "3")) == "potential wash trade detected. use complex orders"


def test_with_a_position_only_orders_that_could_meet_are_refused() -> None:
    exchange = exchange_of(week_of_bars())
    placed(exchange, market(BUY, "5"))
    exchange.clock.advance_bars(1)
    placed(exchange, limit(SELL, "20", "2"))
    assert message(exchange, limit(BUY, "20")) == "potential wash trade detected. use complex orders"
    assert message(exchange, market(BUY, "1")) == "potential wash trade detected. use complex orders"
    placed(exchange, limit(BUY, "19.99"))


def test_exactly_what_is_free_may_be_sold() -> None:
    exchange = exchange_of(week_of_bars())
    placed(exchange, market(BUY, "5"))
    exchange.clock.advance_bars(1)
    placed(exchange, limit(SELL, "99", "2"))
    assert message(exchange, market(SELL, "3.000000001")).startswith("insufficient qty available")
    placed(exchange, market(SELL, "3"))


def test_exactly_the_buying_power_may_be_spent() -> None:
    exchange = exchange_of(week_of_bars(), cash="105")
    assert message(exchange, market(BUY, "10.000000001")) == "insufficient buying power"
    placed(exchange, market(BUY, "10"))
    assert exchange.book.buying_power() == 0


def test_exactly_the_smallest_worth_may_be_ordered() -> None:
    exchange = exchange_of(week_of_bars())
    smallest = OrderRequest("AAA", BUY, MARKET, DAY, notional=Decimal(1))
    below = OrderRequest("AAA", BUY, MARKET, DAY, notional=Decimal("0.999999999"))
    assert message(exchange, below) == "cost basis must be >= minimal amount of order 1"
    placed(exchange, smallest)


def test_an_id_of_128_characters_is_taken() -> None:
    exchange = exchange_of(week_of_bars())
    request = OrderRequest("AAA", BUY, MARKET, DAY, quantity=Decimal(1), client_order_id="x" * 128)
    assert placed(exchange, request).client_order_id == "x" * 128


def test_a_sale_by_worth_sells_no_more_than_is_held() -> None:
    """All of 10 shares at 11.25 are worth 112.50; the next open is 10, where that would be 11.25 shares."""
    rows = (*AAA_ROWS[:2], (10.0, 12.0, 9.0, 11.0, 1.0))
    exchange = exchange_of({"AAA": bars_of("AAA", rows, WEEK[:3])})
    placed(exchange, market(BUY, "10"))
    exchange.clock.advance_bars(1)
    sale = placed(exchange, OrderRequest("AAA", SELL, MARKET, DAY, notional=Decimal("112.5")))
    exchange.clock.advance_events(1)
    assert status(exchange, sale) == "filled"
    assert exchange.book.order(sale.order_id).filled_quantity == 10
    assert exchange.book.positions == {}


def test_an_order_whose_time_is_over_does_not_fill_at_the_next_open() -> None:
    """Good till cancelled ends after 90 days, on a Sunday; Monday opens where it would have bought."""
    days = pd.bdate_range("2000-01-03", "2000-04-04")
    calm: Row = (10.0, 10.0, 10.0, 10.0, 1.0)
    rows = [calm if day < pd.Timestamp("2000-04-03") else (5.0, 5.0, 5.0, 5.0, 1.0) for day in days]
    exchange = exchange_of({"AAA": bars_of("AAA", rows, list(days.strftime("%Y-%m-%d")))})
    order = placed(exchange, limit(BUY, "6", in_force=GTC))
    exchange.clock.advance_bars(99)
    assert status(exchange, order) == "expired"


def test_a_day_order_is_over_at_the_close_even_where_the_last_bar_ended_earlier() -> None:
    times = ["2012-10-26T14:00Z", "2012-10-26T14:10Z", "2012-10-31T14:00Z"]
    tape = Tape({"AAA": bars_of("AAA", AAA_ROWS[:3], times, MINUTES)})
    real = [0.0]
    clock = AcceleratedClock.starting(tape, instant("2012-10-26T14:11Z"), speed=1.0, monotonic=lambda: real[0])
    exchange = Exchange(tape, clock)
    order = placed(exchange, limit(BUY, "5"))
    real[0] = 5 * 3600.0 + 48 * 60
    assert status(exchange, order) == "pending_new"
    real[0] += 120.0
    assert status(exchange, order) == "expired"


def test_outside_the_session_nothing_fills() -> None:
    """The bar from 17:00 to 18:00 in New York is told, but orders wait for the next day's open."""
    times = ["2012-10-26T19:00Z", "2012-10-26T21:00Z", "2012-10-31T14:00Z"]
    exchange = exchange_of({"AAA": bars_of("AAA", AAA_ROWS[:3], times, HOURS)})
    before = placed(exchange, market(BUY, "1"))
    exchange.clock.advance_events(1)
    assert exchange.tape.forming("AAA", exchange.catch_up().position) == 1
    during = placed(exchange, market(BUY, "2"))
    exchange.clock.advance_events(1)
    assert (status(exchange, before), status(exchange, during)) == ("accepted", "accepted")
    exchange.clock.advance_events(1)
    assert (status(exchange, before), status(exchange, during)) == ("filled", "filled")
    assert exchange.book.executions[0].fill.price == 12.0 * 1.0005


def test_within_the_day_an_order_at_a_bars_end_fills_at_the_next_bars_open() -> None:
    times = ["2012-10-26T14:00Z", "2012-10-26T14:01Z"]
    exchange = exchange_of({"AAA": bars_of("AAA", AAA_ROWS[:2], times, MINUTES)})
    order = placed(exchange, market(BUY, "1"))
    assert status(exchange, order) == "pending_new"
    exchange.clock.advance_events(1)
    assert status(exchange, order) == "filled"
    filled = exchange.book.order(order.order_id)
    assert (filled.filled_price, filled.filled_at) == (11.0 * 1.0005, instant("2012-10-26T14:01Z"))


def test_a_market_order_waits_while_its_symbol_does_not_trade() -> None:
    """AAA trades every day, GAP not on the second: its order is for that day and ends with it."""
    rows = np.array(AAA_ROWS)
    gap = bars_of("GAP", [tuple(row) for row in rows[[0, 2]]], [WEEK[0], WEEK[2]])
    exchange = exchange_of({"AAA": bars_of("AAA", AAA_ROWS[:3], WEEK[:3]), "GAP": gap})
    day = placed(exchange, market(BUY, "1", "GAP"))
    exchange.clock.advance_bars(1)
    assert status(exchange, day) == "expired"
    kept = placed(exchange, OrderRequest("GAP", BUY, MARKET, GTC, quantity=Decimal(1)))
    exchange.clock.advance_bars(1)
    assert status(exchange, kept) == "filled"


def test_equity_of_yesterday_is_that_of_the_last_close_before_today() -> None:
    times = ["2012-10-25T15:00Z", "2012-10-25T16:00Z", "2012-10-26T15:00Z", "2012-10-26T16:00Z"]
    exchange = exchange_of({"AAA": bars_of("AAA", AAA_ROWS[:4], times, HOURS)})
    placed(exchange, market(BUY, "10"))
    exchange.clock.advance_bars(3)
    moment = exchange.catch_up()
    paid = Decimal(repr(11.0 * 1.0005)) * 10
    assert exchange.last_equity(moment) == 100_000 - paid + Decimal("112.5")
    assert exchange.book.equity == 100_000 - paid + Decimal("132.5")
