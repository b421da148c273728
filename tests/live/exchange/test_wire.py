"""The shapes on the wire, field by field, against a file: a change here changes what clients read."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from live.exchange import market_data, refusal, wire
from live.exchange.order import BUY, DAY, LIMIT, MARKET, OrderRequest
from live.exchange.venue import Exchange
from tests.live.exchange.venues import day, exchange_of, instant, week_of_bars

GOLDEN = Path(__file__).parents[2] / "golden" / "exchange_wire.json"


def shapes() -> dict[str, Any]:
    """One of everything that the exchange sends, from a fixed day of trading."""
    exchange = exchange_of(week_of_bars())
    bought = exchange.submit(OrderRequest("AAA", BUY, MARKET, DAY, quantity=wire.Decimal("2.5"), client_order_id="a"))
    resting = OrderRequest("AAA", BUY, LIMIT, DAY, quantity=wire.Decimal(1), limit_price=wire.Decimal("9.5"))
    limited = exchange.submit(resting)
    waiting = wire.order_json(bought)
    exchange.clock.advance_events(1)
    moment = exchange.catch_up()
    return {
        "account": wire.account_json(exchange, moment),
        "asset": wire.asset_json("AAA", active=True),
        "bar": wire.bar_json(market_data.latest_bar(exchange.tape, "AAA", 2)),
        "clock": wire.clock_json(exchange, moment),
        "order filled": wire.order_json(_found(exchange, bought)),
        "order resting": wire.order_json(_found(exchange, limited)),
        "order waiting": waiting,
        "position": wire.position_json(exchange, exchange.book.positions["AAA"]),
        "refusal": wire.refusal_json(refusal.insufficient_buying_power(wire.Decimal("10.50"), wire.Decimal(11))),
        "refusal without a code": wire.refusal_json(refusal.unauthorised()),
        "session": wire.session_json(exchange.tape.calendar.on(day("2012-11-23"))),
    }


def _found(exchange: Exchange, order: Any) -> Any:
    return exchange.book.order(order.order_id)


def test_shapes_are_those_of_the_file() -> None:
    assert shapes() == json.loads(GOLDEN.read_text())


@given(st.integers(instant("1950-01-01T00:00Z"), instant("2100-01-01T00:00Z")))
def test_times_are_told_with_nanoseconds_in_both_zones(time: int) -> None:
    assert instant(wire.utc(time)) == instant(wire.local(time)) == time
    assert len(wire.utc(time)) == len("2012-10-26T20:00:00.000000000Z")
    assert len(wire.local(time)) == len("2012-10-26T16:00:00.000000000-04:00")
