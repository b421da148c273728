"""The wrapped client against real servers: every failure is a BrokerError with a Problem, and no key is in it."""

import json
import logging
import socket
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from live.access import DATA_URL, PAPER_URL, Credentials, Endpoints
from live.alpaca import Alpaca
from live.exchange.server import SIMULATED_KEY_ID, SIMULATED_SECRET_KEY, ExchangeServer
from live.problem import Kind, Problem
from mlflow_ppo_flavor.errors import BrokerError
from tests.live.exchange.venues import week_of_bars
from tests.live.scripted import Answer, paths, scripted

pytestmark = pytest.mark.server
KEYS = Credentials("AKFZIQ83KEYID", "9vXr2SECRETsecret7Q")
CLOCK = json.dumps(
    {
        "timestamp": "2012-10-26T16:00:00-04:00",
        "is_open": False,
        "next_open": "2012-10-31T09:30:00-04:00",
        "next_close": "2012-10-31T16:00:00-04:00",
    }
)
ORDER = MarketOrderRequest(
    symbol="AAA", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id="mine"
)


def client(url: str, **options: Any) -> tuple[Alpaca, list[float]]:
    """The client of a server, and the list of its sleeps (none of which is slept)."""
    slept: list[float] = []
    endpoints = Endpoints.choose(paper=True, trading_url=url, data_url=url)
    return Alpaca(endpoints, KEYS, sleep=slept.append, **options), slept


def problem_of(call: Callable[[], object]) -> Problem:
    with pytest.raises(BrokerError) as caught:
        call()
    assert str(caught.value) == caught.value.problem.text
    return caught.value.problem


def test_it_speaks_to_the_simulated_exchange() -> None:
    with ExchangeServer(week_of_bars()) as server:
        endpoints = Endpoints.choose(paper=True, trading_url=server.url, data_url=server.url)
        alpaca = Alpaca(endpoints, Credentials(SIMULATED_KEY_ID, SIMULATED_SECRET_KEY))
        assert alpaca.ask(alpaca.trading.get_account).cash == "100000"
        assert alpaca.tell(lambda: alpaca.trading.submit_order(ORDER)).client_order_id == "mine"
        again = problem_of(lambda: alpaca.tell(lambda: alpaca.trading.submit_order(ORDER)))
        assert (again.kind, again.asked) == (Kind.DUPLICATE, "POST /v2/orders")
        unknown = problem_of(lambda: alpaca.ask(lambda: alpaca.trading.get_open_position("AAA")))
        assert unknown.text == (
            "broker: GET /v2/positions/AAA: not_found: status 404, code 40410000: position does not exist"
        )


@pytest.mark.parametrize("passing", [Answer(500), Answer(504, "x"), Answer(429, "{}"), Answer(0)])
def test_a_read_is_tried_again_where_that_helps(passing: Answer) -> None:
    with scripted(passing, passing, Answer(200, CLOCK)) as script:
        alpaca, slept = client(script.url)
        assert alpaca.ask(alpaca.trading.get_clock).is_open is False
        assert paths(script) == ["GET /v2/clock"] * 3
    assert [pause for pause in slept if pause] == [0.5, 1.0]


def test_a_read_is_tried_a_few_times_and_no_more() -> None:
    with scripted(Answer(503, "overloaded")) as script:
        alpaca, slept = client(script.url)
        found = problem_of(lambda: alpaca.ask(alpaca.trading.get_clock))
        assert len(script.asked) == 4
    assert found == Problem(Kind.SERVER, "GET /v2/clock", 503, None, "overloaded")
    assert sum(slept) < 8


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_a_refused_read_is_not_repeated(status: int) -> None:
    with scripted(Answer(status, '{"message":"no"}')) as script:
        alpaca, _ = client(script.url)
        problem_of(lambda: alpaca.ask(alpaca.trading.get_clock))
        assert len(script.asked) == 1


@pytest.mark.parametrize("answer", [Answer(504), Answer(429, "{}"), Answer(500), Answer(0)])
def test_an_order_is_sent_once_whatever_happens(answer: Answer) -> None:
    """alpaca-py alone sends it four times, three seconds apart, on 429 and 504."""
    with scripted(answer) as script:
        alpaca, _ = client(script.url)
        problem_of(lambda: alpaca.tell(lambda: alpaca.trading.submit_order(ORDER)))
        assert paths(script) == ["POST /v2/orders"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(502, "<html><body>Bad\n Gateway</body></html>", kind="text/html"), Kind.SERVER),
        (Answer(200, "<html>welcome</html>", kind="text/html"), Kind.UNREADABLE),
        (Answer(200, '{"id": 7}'), Kind.UNREADABLE),
        (Answer(200, "[]"), Kind.UNREADABLE),
        (Answer(200, ""), Kind.UNREADABLE),
        (Answer(302, ""), Kind.UNREADABLE),
        (Answer(200, "null"), Kind.UNREADABLE),
        (Answer(0), Kind.UNREACHABLE),
    ],
)
def test_after_a_garbled_answer_nobody_knows_whether_the_order_stands(answer: Answer, kind: Kind) -> None:
    with scripted(answer) as script:
        alpaca, _ = client(script.url)
        found = problem_of(lambda: alpaca.tell(lambda: alpaca.trading.submit_order(ORDER)))
    assert found.kind is kind
    assert found.is_ambiguous


def test_an_answer_that_never_comes_ends_with_the_timeout() -> None:
    with scripted(Answer(200, CLOCK, delay=2.0)) as script:
        alpaca, _ = client(script.url, timeout=(1.0, 0.2), attempts=1)
        began = time.monotonic()
        found = problem_of(lambda: alpaca.ask(alpaca.trading.get_clock))
        assert time.monotonic() - began < 1.5
    assert (found.kind, found.asked, found.message) == (Kind.UNREACHABLE, "GET /v2/clock", "ReadTimeout")


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    alpaca, _ = client(f"http://127.0.0.1:{port}", attempts=1)
    assert problem_of(lambda: alpaca.ask(alpaca.trading.get_clock)).kind is Kind.UNREACHABLE


def test_a_proxy_of_the_environment_is_not_asked_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with scripted(Answer(200, CLOCK)) as script:
        alpaca, _ = client(script.url)
        assert alpaca.ask(alpaca.trading.get_clock).is_open is False
        assert len(script.asked) == 1


def test_keys_are_sent_and_appear_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    """Not in messages, logs, reprs or tracebacks, not even with their variables, and not behind the exception."""
    caplog.set_level(logging.DEBUG)
    echo = f"<html>your headers: {KEYS.key_id}, {KEYS.secret_key}</html>"
    for answer in (Answer(502, echo), Answer(401, json.dumps({"message": echo})), Answer(0), Answer(200, echo)):
        with scripted(answer) as script:
            alpaca, _ = client(script.url, attempts=2)
            with pytest.raises(BrokerError) as caught:
                alpaca.ask(alpaca.trading.get_clock)
            assert script.asked[0][2]["APCA-API-SECRET-KEY"] == KEYS.secret_key
        seen = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value)) + repr(alpaca) + repr(KEYS)
        for frame, _ in traceback.walk_tb(caught.tb):
            seen += repr(frame.f_locals) if frame.f_code.co_filename != __file__ else ""
        assert KEYS.secret_key not in seen
        assert KEYS.key_id not in seen
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    assert KEYS.secret_key not in caplog.text
    assert KEYS.key_id not in caplog.text


def test_requests_to_alpaca_are_paced_below_its_limit_and_on_loopback_not() -> None:
    """Without sending: the guarded session asks its pace first. The clock stands still, so the 181st waits a minute."""
    slept: list[float] = []
    alpaca = Alpaca(Endpoints(PAPER_URL, DATA_URL), KEYS, sleep=slept.append, monotonic=lambda: 100.0)
    session = alpaca.trading._session
    assert session.trust_env
    for _ in range(181):
        with pytest.raises(ValueError, match="No connection adapters"):
            session.request("GET", "nowhere://")
    assert slept == [0.0] * 180 + [60.0]
    with scripted(Answer(200, CLOCK)) as script:
        local, pauses = client(script.url, monotonic=lambda: 100.0)
        for _ in range(181):
            local.ask(local.trading.get_clock)
        assert len(script.asked) == 181
    assert set(pauses) == {0.0}
