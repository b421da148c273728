"""Servers for the exchange's tests: one for each module that only reads, a fresh one for each test that trades."""

from collections.abc import Iterator

import pytest
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.trading.client import TradingClient

from live.exchange.server import ExchangeServer
from tests.live.exchange.venues import data_client, trading_client, week_of_bars


@pytest.fixture(scope="module")
def reading() -> Iterator[ExchangeServer]:
    """A server at the close of the third day, which no test moves and where no test's order is taken."""
    with ExchangeServer(week_of_bars()) as server:
        server.advance(bars=2)
        yield server


@pytest.fixture
def server() -> Iterator[ExchangeServer]:
    """A server of the test's own, at the close of the first day."""
    with ExchangeServer(week_of_bars()) as started:
        yield started


@pytest.fixture
def trading(server: ExchangeServer) -> TradingClient:
    """The trading client of the test's own server."""
    return trading_client(server.url)


@pytest.fixture
def data(server: ExchangeServer) -> StockHistoricalDataClient:
    """The data client of the test's own server."""
    return data_client(server.url)
