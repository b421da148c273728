"""The server in a thread: where it listens, how fast it answers, how it ends."""

import socket
import time
from statistics import median

import pytest
import requests
from alpaca.trading.client import TradingClient

from live.exchange.server import ExchangeServer, Settings, listen
from mlflow_ppo_flavor.errors import BarsError, SpecError
from tests.live.exchange.venues import instant, trading_client, week_of_bars

pytestmark = pytest.mark.server


def test_it_listens_on_loopback_alone_and_on_the_port_asked_for() -> None:
    with listen(0) as probe:
        port = probe.getsockname()[1]
        assert probe.getsockname()[0] == "127.0.0.1"
    with ExchangeServer(week_of_bars(), port=port) as server:
        assert server.url == f"http://127.0.0.1:{port}"
        assert trading_client(server.url).get_clock().is_open is False
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{server.url}/sim/state", timeout=1)


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        ExchangeServer(week_of_bars(), port=taken.getsockname()[1])


def test_an_answer_does_not_wait_for_a_delayed_acknowledgement(trading: TradingClient) -> None:
    """With Nagle's algorithm on, each answer took 44 ms: a year of daily bars a minute instead of three seconds."""
    seconds = []
    for _ in range(15):
        began = time.perf_counter()
        trading.get_clock()
        seconds.append(time.perf_counter() - began)
    assert median(seconds) < 0.03


def test_its_state_tells_when_the_bars_are_over(server: ExchangeServer) -> None:
    assert server.state() == {
        "now": "2012-10-24T20:00:00.000000000Z",
        "position": 2,
        "events": 12,
        "finished": False,
    }
    assert server.advance(bars=5)["finished"]
    assert server.advance(bars=1) == server.state()


def test_time_that_runs_fills_without_being_asked() -> None:
    """A day lasts a tenth of a second."""
    with ExchangeServer(week_of_bars(), Settings(speed=864_000.0, start=instant("2012-10-24T20:00Z"))) as server:
        time.sleep(0.1)
        assert server.state()["position"] >= 3
        deadline = time.monotonic() + 10
        while not server.state()["finished"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert trading_client(server.url).get_clock().timestamp.isoformat() == "2012-11-02T16:00:00-04:00"


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(SpecError, match="speed"):
        ExchangeServer(week_of_bars(), Settings(speed=-1.0))
    with pytest.raises(BarsError, match="found no bars, expected at least one symbol"):
        ExchangeServer({})
