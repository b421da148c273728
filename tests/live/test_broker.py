"""The broker against the simulated exchange, and against servers that answer wrongly."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest

from live.broker import Broker, order_body
from live.exchange.server import ExchangeServer
from live.problem import Kind
from live.ticket import ABSENT, OrderReport, Ticket
from live.venue import BrokerAccount, Session, VenueClock
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.errors import BrokerError
from tests.live.exchange.venues import day, instant, week_of_bars
from tests.live.rooms import KEYS, broker_of
from tests.live.scripted import Answer, paths, scripted

pytestmark = pytest.mark.server
NO_POSITION = Answer(404, json.dumps({"code": 40410000, "message": "position does not exist"}))


def ticket(quantity: str, symbol: str = "AAA", number: int = 0) -> Ticket:
    return Ticket.of("live-1", symbol, Decimal(quantity), number, leg=0, attempt=0, reason="test")


@pytest.fixture
def server() -> Iterator[ExchangeServer]:
    with ExchangeServer(week_of_bars()) as started:
        yield started


@pytest.fixture
def broker(server: ExchangeServer) -> Broker:
    return broker_of(server.url)


def test_the_clock_tells_the_venues_time_and_its_next_hours(server: ExchangeServer, broker: Broker) -> None:
    assert broker.clock() == VenueClock(
        now=instant("2012-10-24T20:00Z"),
        is_open=False,
        next_open=instant("2012-10-25T13:30Z"),
        next_close=instant("2012-10-25T20:00Z"),
    )
    server.advance(events=1)
    assert broker.clock().is_open


def test_the_account_follows_its_trades(server: ExchangeServer, broker: Broker) -> None:
    assert broker.account() == BrokerAccount(100_000.0, 100_000.0, 100_000.0, False, "")
    assert (dict(broker.positions()), broker.position("AAA")) == ({}, 0)
    broker.submit(ticket("1.123456789"))
    broker.submit(ticket("-3", "BBB"))
    server.advance(bars=1)
    assert dict(broker.positions()) == {"AAA": Decimal("1.123456789"), "BBB": Decimal(-3)}
    assert (broker.position("AAA"), broker.position("BBB")) == (Decimal("1.123456789"), Decimal(-3))
    found = broker.account()
    cash = Decimal(100_000) - Decimal("1.123456789") * Decimal("11.0055") + 3 * Decimal("1.09945")
    assert found.cash == float(cash)
    assert found.equity == float(cash + Decimal("1.123456789") * Decimal("11.25") - 3 * Decimal("1.125"))


def test_an_instrument_is_that_of_the_asset(server: ExchangeServer, broker: Broker) -> None:
    assert broker.instrument("AAA") == Instrument.equity("AAA")
    with pytest.raises(BrokerError, match="found NEW inactive, tradable false, expected an active asset"):
        broker.instrument("NEW")
    server.advance(bars=2)
    assert broker.instrument("NEW").symbol == "NEW"
    with pytest.raises(BrokerError, match=r"GET /v2/assets/BTC%2FUSD: not_found: status 404") as caught:
        broker.instrument("BTC/USD")
    assert caught.value.problem.kind is Kind.NOT_FOUND


def test_the_calendar_knows_days_without_trading_and_early_closes(broker: Broker) -> None:
    sessions = broker.calendar(day("2012-10-25"), day("2012-11-01"))
    assert [str(session.day) for session in sessions] == ["2012-10-25", "2012-10-26", "2012-10-31", "2012-11-01"]
    assert sessions[1] == Session(day("2012-10-26"), instant("2012-10-26T13:30Z"), instant("2012-10-26T20:00Z"))
    (friday,) = broker.calendar(day("2012-11-22"), day("2012-11-23"))
    assert (friday.opens, friday.closes) == (instant("2012-11-23T14:30Z"), instant("2012-11-23T18:00Z"))


def test_an_order_is_sent_looked_up_and_cancelled(server: ExchangeServer, broker: Broker) -> None:
    mine = ticket("2.5")
    sent = broker.submit(mine)
    assert (sent.status, sent.terminal, sent.filled_quantity) == ("accepted", False, 0)
    assert broker.lookup(mine.client_order_id) == sent
    broker.cancel(sent.order_id)
    assert broker.lookup(mine.client_order_id).status == "canceled"
    with pytest.raises(BrokerError, match='order is already in "canceled" state') as caught:
        broker.cancel(sent.order_id)
    assert caught.value.problem.kind is Kind.OVER


def test_a_fill_is_told_with_its_sign_its_price_to_the_bit_and_its_time(server: ExchangeServer, broker: Broker) -> None:
    mine = ticket("-3", "BBB")
    order_id = broker.submit(mine).order_id
    server.advance(events=1)
    (order,) = server.exchange.book.orders
    found = broker.lookup(mine.client_order_id)
    assert found == OrderReport(
        mine.client_order_id,
        "filled",
        Decimal(-3),
        order.filled_price,
        instant("2012-10-25T13:30Z"),
        order_id=order_id,
    )


def test_an_order_that_the_venue_does_not_have_is_absent(broker: Broker) -> None:
    found = broker.lookup("nobody's")
    assert (found.status, found.terminal) == (ABSENT, True)
    assert found.reason.endswith("not_found: status 404, code 40410000: order not found for nobody's")


@pytest.mark.parametrize("quantity", ["0.000000001", "123456789.123456789", "-7", "100"])
def test_a_quantity_is_sent_as_it_is(quantity: str) -> None:
    """As a float, the second would lose its last digits, and the first would go as 1e-09."""
    body = order_body(ticket(quantity))
    assert body == {
        "symbol": "AAA",
        "qty": quantity.removeprefix("-"),
        "side": "sell" if quantity.startswith("-") else "buy",
        "type": "market",
        "time_in_force": "day",
        "client_order_id": ticket(quantity).client_order_id,
    }


QUERIES: dict[str, Callable[[Broker], object]] = {
    "/v2/clock": lambda broker: broker.clock(),
    "/v2/account": lambda broker: broker.account(),
    "/v2/positions": lambda broker: broker.positions(),
    "/v2/positions/AAA": lambda broker: broker.position("AAA"),
    "/v2/assets/AAA": lambda broker: broker.instrument("AAA"),
    "/v2/calendar": lambda broker: broker.calendar(day("2012-10-25"), day("2012-11-01")),
    "/v2/orders:by_client_order_id": lambda broker: broker.lookup("mine"),
}
WRONG = {
    "html": (Answer(200, "<html>", kind="text/html"), Kind.UNREADABLE),
    "null": (Answer(200, "null"), Kind.UNREADABLE),
    "another shape": (Answer(200, '{"status": "ACTIVE", "timestamp": "now"}'), Kind.UNREADABLE),
    "bad gateway": (Answer(502, "<html>", kind="text/html"), Kind.SERVER),
    "a proxy's 404": (Answer(404, "<html>", kind="text/html"), Kind.NOT_FOUND),
    "reset": (Answer(0), Kind.UNREACHABLE),
    "bad key": (Answer(401, '{"message": "unauthorized."}'), Kind.UNAUTHORISED),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("path", QUERIES)
def test_no_query_that_fails_has_a_value(path: str, wrong: str) -> None:
    """Neither flat, nor absent, nor closed: nothing is known then. What may pass is asked again, and then told."""
    answer, kind = WRONG[wrong]
    with scripted(answer) as script, pytest.raises(BrokerError) as caught:
        QUERIES[path](broker_of(script.url, attempts=3, timeout=(1.0, 1.0)))
    assert caught.value.problem.kind is kind
    passing = kind in (Kind.UNREADABLE, Kind.SERVER, Kind.UNREACHABLE)
    assert paths(script) == [f"GET {path}"] * (3 if passing else 1)
    assert KEYS.secret_key not in str(caught.value)


def test_an_unreadable_answer_says_where() -> None:
    body = {"status": "ACTIVE", "equity": "much", "cash": "1", "buying_power": "1"}
    with (
        scripted(Answer(200, json.dumps(body))) as script,
        pytest.raises(
            BrokerError, match=r"broker: GET /v2/account: unreadable: status 200: account\.equity: found 'much'"
        ),
    ):
        broker_of(script.url).account()


def test_an_answer_that_comes_right_is_taken() -> None:
    account = {"status": "ACTIVE", "equity": "2", "cash": "1", "buying_power": "1"}
    with scripted(Answer(502, ""), Answer(200, "[]"), Answer(200, json.dumps(account))) as script:
        assert broker_of(script.url).account() == BrokerAccount(2.0, 1.0, 1.0, False, "")


def test_a_position_is_flat_only_in_the_venues_own_words() -> None:
    with scripted(NO_POSITION) as script:
        assert broker_of(script.url).position("AAA") == 0
    other = Answer(404, json.dumps({"code": 40010001, "message": "no route"}))
    with scripted(other) as script, pytest.raises(BrokerError, match="not_found: status 404, code 40010001: no route"):
        broker_of(script.url).position("AAA")


def test_an_order_is_sent_once_whatever_comes_back() -> None:
    for answer in (Answer(502, ""), Answer(0), Answer(200, "<html>"), Answer(429, "{}"), Answer(200, "{}")):
        with scripted(answer) as script, pytest.raises(BrokerError):
            broker_of(script.url).submit(ticket("1"))
        assert paths(script) == ["POST /v2/orders"]
