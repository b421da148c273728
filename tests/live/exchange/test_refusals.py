"""Every refusal as alpaca-py's clients see it: status, code and message, word for word."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.requests import StockBarsRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import ClosePositionRequest, LimitOrderRequest, MarketOrderRequest

from live.exchange.server import SIMULATED_KEY_ID, SIMULATED_SECRET_KEY, ExchangeServer, Settings
from tests.live.exchange.venues import data_client, trading_client, week_of_bars

pytestmark = pytest.mark.server
BUY, SELL, DAY, GTC = OrderSide.BUY, OrderSide.SELL, TimeInForce.DAY, TimeInForce.GTC
KEYS = {"APCA-API-KEY-ID": SIMULATED_KEY_ID, "APCA-API-SECRET-KEY": SIMULATED_SECRET_KEY}
NO_ID = "61e69015-8549-4bfd-b9c3-01e75843f47d"


@pytest.fixture(scope="module")
def holding() -> Iterator[ExchangeServer]:
    """Ten AAA held, three of them for a resting sale, and 5 BBB short; AAA closed at 12.75, BBB at 1.275."""
    with ExchangeServer(week_of_bars()) as server:
        client = trading_client(server.url)
        client.submit_order(market("AAA", BUY, qty=10, client_order_id="bought"))
        client.submit_order(market("BBB", SELL, qty=5))
        server.advance(bars=2)
        resting = LimitOrderRequest(
            symbol="AAA", side=SELL, qty=3, limit_price=99, time_in_force=GTC, client_order_id="rests"
        )
        client.submit_order(resting)
        yield server


@pytest.fixture(scope="module")
def client(holding: ExchangeServer) -> TradingClient:
    return trading_client(holding.url)


def market(symbol: str, side: OrderSide, in_force: TimeInForce = DAY, **given: Any) -> MarketOrderRequest:
    return MarketOrderRequest(symbol=symbol, side=side, time_in_force=in_force, **given)


def limit(symbol: str, side: OrderSide, price: float, **given: Any) -> LimitOrderRequest:
    return LimitOrderRequest(symbol=symbol, side=side, time_in_force=DAY, limit_price=price, **given)


def refused(call: Callable[[], object]) -> tuple[int, int, str]:
    """Status, code and message of the refusal that a call meets."""
    with pytest.raises(APIError) as caught:
        call()
    return caught.value.status_code, caught.value.code, caught.value.message


ORDERS = {
    "id used before": (
        market("AAA", BUY, qty=1, client_order_id="bought"),
        (422, 40010001, "client_order_id must be unique"),
    ),
    "id too long": (
        market("AAA", BUY, qty=1, client_order_id="x" * 129),
        (422, 40010001, "client_order_id must be no more than 128 characters"),
    ),
    "unknown symbol": (market("ZZZ", BUY, qty=1), (422, 42210000, 'asset "ZZZ" not found')),
    "too small": (
        market("BBB", BUY, notional=0.99),
        (403, 40310000, "cost basis must be >= minimal amount of order 1"),
    ),
    "buying power": (limit("NEW", BUY, 12.75, qty=1e6), (403, 40310000, "insufficient buying power")),
    "sell more than is free": (
        market("AAA", SELL, qty=7.5),
        (403, 40310000, "insufficient qty available for order (requested: 7.5, available: 7)"),
    ),
    "buy a short through zero": (
        market("BBB", BUY, qty=6),
        (403, 40310000, "insufficient qty available for order (requested: 6, available: 5)"),
    ),
    "buy while a sale could meet it": (
        market("AAA", BUY, qty=1),
        (403, 40310000, "potential wash trade detected. use complex orders"),
    ),
    "short parts of a share": (
        market("NEW", SELL, qty=1.5),
        (422, 42210000, "fractional orders cannot be sold short"),
    ),
    "short by worth": (market("NEW", SELL, notional=50), (422, 42210000, "fractional orders cannot be sold short")),
    "parts of a share good till cancelled": (
        market("NEW", BUY, GTC, qty=1.5),
        (422, 42210000, "fractional orders must be DAY orders"),
    ),
    "parts of a cent": (
        limit("NEW", BUY, 10.001, qty=1),
        (422, 42210000, "invalid limit_price 10.001. sub-penny increment does not fulfill minimum pricing criteria"),
    ),
    "ten decimals": (
        market("NEW", BUY, qty=1.0000000001),
        (422, 40010001, "qty must be limited to 9 decimal places"),
    ),
    "below zero": (market("NEW", BUY, qty=-1), (422, 40010001, "qty must be > 0")),
    "immediate or cancel": (
        market("NEW", BUY, TimeInForce.IOC, qty=1),
        (422, 42210000, "time_in_force ioc is not simulated: use day or gtc"),
    ),
    "extended hours": (
        limit("NEW", BUY, 10, qty=1, extended_hours=True),
        (422, 42210000, "extended_hours is not simulated"),
    ),
}


@pytest.mark.parametrize("case", ORDERS)
def test_an_order_is_refused(client: TradingClient, case: str) -> None:
    order, expected = ORDERS[case]
    before = len(client.get_orders())
    assert refused(lambda: client.submit_order(order)) == expected
    assert len(client.get_orders()) == before


def test_a_refused_quantity_tells_what_is_held_for_orders(holding: ExchangeServer) -> None:
    body = {"symbol": "AAA", "side": "sell", "qty": "8", "type": "market", "time_in_force": "day"}
    answer = requests.post(f"{holding.url}/v2/orders", json=body, headers=KEYS, timeout=5)
    assert (answer.status_code, answer.json()) == (
        403,
        {
            "code": 40310000,
            "message": "insufficient qty available for order (requested: 8, available: 7)",
            "symbol": "AAA",
            "available": "7",
            "existing_qty": "10",
            "held_for_orders": "3",
        },
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "request body format is invalid"),
        (b"[1]", "request body format is invalid"),
        (b'{"side": "buy"}', "symbol is required"),
        (b'{"symbol": "AAA", "side": "hold"}', "side must be buy or sell"),
        (
            b'{"symbol": "AAA", "side": "buy", "type": "market", "time_in_force": "day"}',
            "exactly one of qty or notional is required",
        ),
        (
            b'{"symbol": "AAA", "side": "buy", "type": "market", "time_in_force": "day", "qty": NaN}',
            "qty must be > 0",
        ),
        (
            b'{"symbol": "AAA", "side": "buy", "type": "limit", "time_in_force": "day", "qty": 1}',
            "limit orders require limit price > 0",
        ),
    ],
)
def test_a_body_that_is_no_order_is_refused(holding: ExchangeServer, body: bytes, message: str) -> None:
    answer = requests.post(f"{holding.url}/v2/orders", data=body, headers=KEYS, timeout=5)
    assert (answer.status_code, answer.json()) == (422, {"code": 40010001, "message": message})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "stop"}, "order type stop is not simulated: use market or limit"),
        ({"order_class": "bracket"}, "order_class bracket is not simulated: use simple"),
        ({"type": "limit", "qty": None, "notional": 5, "limit_price": 5}, "notional orders must be market orders"),
        ({"limit_price": 5}, "market orders require no stop or limit price"),
    ],
)
def test_what_is_not_simulated_is_refused_by_name(
    holding: ExchangeServer, change: dict[str, Any], message: str
) -> None:
    body = {"symbol": "NEW", "side": "buy", "type": "market", "time_in_force": "day", "qty": "1", **change}
    answer = requests.post(f"{holding.url}/v2/orders", json=body, headers=KEYS, timeout=5)
    assert (answer.status_code, answer.json()) == (422, {"code": 42210000, "message": message})


def test_an_order_before_the_first_bar_is_refused(trading: TradingClient) -> None:
    assert refused(lambda: trading.submit_order(market("NEW", BUY, qty=1))) == (
        422,
        42210000,
        'asset "NEW" is not active',
    )
    assert not trading.get_asset("NEW").tradable


def test_cancelling_what_is_over_is_refused(client: TradingClient) -> None:
    bought = client.get_order_by_client_id("bought")
    assert refused(lambda: client.cancel_order_by_id(bought.id)) == (
        422,
        42210000,
        'order is already in "filled" state',
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda client: client.get_open_position("NEW"), "position does not exist"),
        (lambda client: client.close_position("ZZZ"), "position does not exist"),
        (lambda client: client.get_order_by_id(NO_ID), f"order not found for {NO_ID}"),
        (lambda client: client.get_order_by_client_id("nobody"), "order not found for nobody"),
        (lambda client: client.cancel_order_by_id(NO_ID), f"order not found for {NO_ID}"),
        (lambda client: client.get_asset("ZZZ"), "asset not found for ZZZ"),
    ],
)
def test_what_is_not_there_is_not_found(client: TradingClient, call: Callable[..., object], message: str) -> None:
    assert refused(lambda: call(client)) == (404, 40410000, message)


def test_closing_more_than_is_free_is_refused(client: TradingClient) -> None:
    assert refused(lambda: client.close_position("AAA", ClosePositionRequest(qty="8"))) == (
        403,
        40310000,
        "insufficient qty available for order (requested: 8, available: 7)",
    )
    too_much = ClosePositionRequest(percentage="101")
    assert refused(lambda: client.close_position("AAA", too_much)) == (422, 40010001, "percentage must be <= 100")


def test_wrong_keys_get_an_answer_without_a_code(holding: ExchangeServer) -> None:
    bars = StockBarsRequest(symbol_or_symbols="AAA", timeframe=TimeFrame.Day)
    for call in (
        trading_client(holding.url, secret_key="wrong").get_account,
        lambda: data_client(holding.url, secret_key="wrong").get_stock_bars(bars),
    ):
        with pytest.raises(APIError) as caught:
            call()
        assert caught.value.status_code == 401
        assert str(caught.value) == '{"message":"unauthorized."}'
        with pytest.raises(KeyError):
            _ = caught.value.code


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "symbols parameter is required"),
        ({"symbols": "AAA"}, "invalid timeframe: "),
        ({"symbols": "AAA", "timeframe": "7Min"}, "invalid timeframe: 7Min"),
        (
            {"symbols": "AAA", "timeframe": "1Hour"},
            "timeframe 1Hour is not held: this simulated exchange replays 1Day bars",
        ),
        (
            {"symbols": "AAA", "timeframe": "1Day", "adjustment": "all"},
            "adjustment all is not held: this simulated exchange replays bars with adjustment=raw",
        ),
        (
            {"symbols": "AAA", "timeframe": "1Day", "start": "x"},
            "invalid start or end: expected RFC 3339 or YYYY-MM-DD",
        ),
        ({"symbols": "AAA", "timeframe": "1Day", "limit": "0"}, "invalid limit: expected 1 to 10000"),
        ({"symbols": "AAA", "timeframe": "1Day", "limit": "10001"}, "invalid limit: expected 1 to 10000"),
        ({"symbols": "AAA", "timeframe": "1Day", "sort": "up"}, "invalid sort: expected asc or desc"),
        ({"symbols": "AAA", "timeframe": "1Day", "page_token": "?"}, "invalid page_token"),
    ],
)
def test_bars_that_cannot_be_given_are_refused(holding: ExchangeServer, query: dict[str, str], message: str) -> None:
    answer = requests.get(f"{holding.url}/v2/stocks/bars", params=query, headers=KEYS, timeout=5)
    assert (answer.status_code, answer.json()) == (400, {"message": message})


@pytest.mark.parametrize("query", [{"status": "odd"}, {"limit": "501"}, {"after": "x"}])
def test_a_list_of_orders_that_cannot_be_read_is_refused(holding: ExchangeServer, query: dict[str, str]) -> None:
    answer = requests.get(f"{holding.url}/v2/orders", params=query, headers=KEYS, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_time_that_runs_by_itself_cannot_be_moved() -> None:
    with ExchangeServer(week_of_bars(), Settings(speed=1.0)) as server:
        answer = requests.post(f"{server.url}/sim/advance?bars=1", timeout=5)
    assert (answer.status_code, answer.json()["message"]) == (
        409,
        "the clock runs by itself: start the exchange in lockstep to move it",
    )


def test_the_calendar_refuses_what_is_no_date(holding: ExchangeServer) -> None:
    answer = requests.get(f"{holding.url}/v2/calendar?start=yesterday", headers=KEYS, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)
