"""The life of an order, spoken to by alpaca-py's real client."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import GetOrdersRequest, LimitOrderRequest, MarketOrderRequest

from live.exchange.server import ExchangeServer
from tests.live.exchange.venues import trading_client, week_of_bars

pytestmark = pytest.mark.server
BUY, SELL, DAY, GTC = OrderSide.BUY, OrderSide.SELL, TimeInForce.DAY, TimeInForce.GTC


def market(symbol: str, side: OrderSide = BUY, qty: float | None = 1, **given: Any) -> MarketOrderRequest:
    return MarketOrderRequest(symbol=symbol, side=side, qty=qty, time_in_force=DAY, **given)


def limit(symbol: str, side: OrderSide, price: float, in_force: TimeInForce = DAY, qty: float = 1) -> LimitOrderRequest:
    return LimitOrderRequest(symbol=symbol, side=side, qty=qty, time_in_force=in_force, limit_price=price)


def test_an_order_while_closed_waits_for_the_next_open(server: ExchangeServer, trading: TradingClient) -> None:
    order = trading.submit_order(market("AAA", qty=3, client_order_id="mine"))
    assert order.status is OrderStatus.ACCEPTED
    assert order.expires_at == datetime(2012, 10, 25, 20, tzinfo=UTC)
    assert trading.get_order_by_id(order.id) == order
    server.advance(events=1)
    filled = trading.get_order_by_client_id("mine")
    assert (filled.status, filled.filled_qty, filled.qty) == (OrderStatus.FILLED, "3", "3")
    assert filled.filled_at == datetime(2012, 10, 25, 13, 30, tzinfo=UTC)
    assert filled.filled_avg_price == "11.0055"


def test_an_order_while_open_fills_at_once_but_after_its_answer(server: ExchangeServer, trading: TradingClient) -> None:
    server.advance(events=1)
    order = trading.submit_order(market("AAA"))
    assert (order.status, order.filled_at) == (OrderStatus.PENDING_NEW, None)
    filled = trading.get_order_by_id(order.id)
    assert (filled.status, filled.filled_avg_price) == (OrderStatus.FILLED, "11.0055")


def test_the_same_client_order_id_makes_one_order(server: ExchangeServer, trading: TradingClient) -> None:
    trading.submit_order(market("AAA", client_order_id="once"))
    for _ in range(2):
        with pytest.raises(APIError, match="client_order_id must be unique"):
            trading.submit_order(market("AAA", client_order_id="once"))
    server.advance(bars=1)
    assert trading.get_open_position("AAA").qty == "1"
    with pytest.raises(APIError, match="client_order_id must be unique"):
        trading.submit_order(market("AAA", client_order_id="once"))


def test_an_id_stays_used_after_a_cancel(trading: TradingClient) -> None:
    order = trading.submit_order(market("AAA", client_order_id="once"))
    trading.cancel_order_by_id(order.id)
    assert trading.get_order_by_id(order.id).status is OrderStatus.CANCELED
    with pytest.raises(APIError, match="client_order_id must be unique"):
        trading.submit_order(market("AAA", client_order_id="once"))


def test_all_open_orders_are_cancelled(server: ExchangeServer, trading: TradingClient) -> None:
    placed = [trading.submit_order(market(symbol)) for symbol in ("AAA", "BBB")]
    answers = trading.cancel_orders()
    assert [(answer.id, answer.status) for answer in answers] == [(order.id, 200) for order in placed]
    server.advance(bars=1)
    assert trading.get_all_positions() == []
    assert trading.cancel_orders() == []


def test_a_limit_order_fills_where_the_bar_reaches_it(server: ExchangeServer, trading: TradingClient) -> None:
    """The second day opens at 11, with a low of 10; the third opens at 12 and falls to 11.5."""
    below, met, never = (trading.submit_order(limit("AAA", BUY, price, GTC)) for price in (11.5, 10.25, 5))
    server.advance(events=1)
    assert trading.get_order_by_id(below.id).filled_avg_price == "11.0055"
    assert trading.get_order_by_id(met.id).status is OrderStatus.NEW
    server.advance(events=1)
    filled = trading.get_order_by_id(met.id)
    assert (filled.filled_avg_price, filled.filled_at) == ("10.25", datetime(2012, 10, 25, 20, tzinfo=UTC))
    server.advance(bars=4)
    assert trading.get_order_by_id(never.id).status is OrderStatus.NEW


def test_a_limit_order_cannot_claim_the_range_of_a_bar_that_was_forming(
    server: ExchangeServer, trading: TradingClient
) -> None:
    """Whether the low came before or after the order, nobody knows."""
    server.advance(events=1)
    order = trading.submit_order(limit("AAA", BUY, 10.25, GTC))
    server.advance(events=1)
    assert trading.get_order_by_id(order.id).status is OrderStatus.NEW


def test_a_day_order_expires_at_the_close(server: ExchangeServer, trading: TradingClient) -> None:
    order = trading.submit_order(limit("AAA", BUY, 5))
    server.advance(bars=1)
    over = trading.get_order_by_id(order.id)
    assert (over.status, over.expired_at) == (OrderStatus.EXPIRED, datetime(2012, 10, 25, 20, tzinfo=UTC))
    assert trading.get_account().buying_power == "100000"


def test_a_good_till_cancelled_order_ends_after_ninety_days(trading: TradingClient) -> None:
    order = trading.submit_order(limit("AAA", BUY, 5, GTC))
    assert order.expires_at - order.submitted_at == timedelta(days=90)


def test_a_notional_order_buys_what_it_pays_for(server: ExchangeServer, trading: TradingClient) -> None:
    order = trading.submit_order(market("AAA", qty=None, notional=100))
    assert (order.notional, order.qty) == ("100", None)
    server.advance(events=1)
    filled = trading.get_order_by_id(order.id)
    assert (filled.filled_qty, filled.filled_avg_price) == ("9.086365907", "11.0055")
    bought = Decimal("9.086365907")
    assert bought * Decimal("11.0055") <= 100 < (bought + Decimal("1e-9")) * Decimal("11.0055")


def test_orders_are_listed_by_state_symbol_side_and_time(server: ExchangeServer, trading: TradingClient) -> None:
    first = trading.submit_order(market("AAA"))
    server.advance(bars=1)
    second = trading.submit_order(market("BBB"))
    third = trading.submit_order(limit("AAA", SELL, 99))

    def listed(**given: Any) -> list[Any]:
        return [order.id for order in trading.get_orders(GetOrdersRequest(**given))]

    everything = QueryOrderStatus.ALL
    assert [order.id for order in trading.get_orders()] == [third.id, second.id]
    assert listed(status=QueryOrderStatus.CLOSED) == [first.id]
    assert listed(status=everything) == [third.id, second.id, first.id]
    assert listed(status=everything, direction="asc") == [first.id, second.id, third.id]
    assert listed(status=everything, limit=1) == [third.id]
    assert listed(status=everything, symbols=["AAA"]) == [third.id, first.id]
    assert listed(status=everything, side=SELL) == [third.id]
    assert listed(status=everything, after=first.submitted_at) == [third.id, second.id]
    assert listed(status=everything, until=second.submitted_at) == [first.id]


def test_the_same_requests_get_the_same_ids(server: ExchangeServer, trading: TradingClient) -> None:
    ours = trading.submit_order(market("AAA"))
    with ExchangeServer(week_of_bars()) as other:
        theirs = trading_client(other.url).submit_order(market("AAA"))
    assert ours == theirs
