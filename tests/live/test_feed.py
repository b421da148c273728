"""The feed against the simulated exchange, bar by bar, and against a server whose bars are wrong."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.broker import Broker
from live.exchange.server import ExchangeServer, Settings
from live.feed import GRACE_SECONDS, Feed, read_page
from live.problem import Kind
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_time import MISSING
from mlflow_ppo_flavor.decision.bars import Bar, Bars
from mlflow_ppo_flavor.errors import BarsError, BrokerError, SpecError
from tests import tiers
from tests.live.exchange.venues import AAA_ROWS, WEEK, bars_of, instant, week_of_bars
from tests.live.rooms import alpaca_of, broker_of
from tests.live.scripted import Answer, scripted
from training.series import demo_bars

pytestmark = pytest.mark.server
RAW = BarSpec("1Day", "raw")
AAPL = demo_bars("AAPL")
AFTER_CLOSE = 17 * 3_600 * 10**9
TOLD = [
    {"t": f"{text}T04:00:00Z", "o": opened, "h": high, "l": low, "c": close, "v": volume, "n": None, "vw": None}
    for text, (opened, high, low, close, volume) in zip(WEEK, AAA_ROWS, strict=True)
]


def feed_of(url: str, spec: BarSpec = RAW, **options: Any) -> Feed:
    alpaca = alpaca_of(url, **options)
    return Feed(alpaca, Broker(alpaca), spec)


def counted(feed: Feed, **changes: str) -> list[str | None]:
    """The page token of each request for bars from now on, which goes out with these changes."""
    client, asked = feed._client.data, []
    ask = client.get

    def asking(path: str, data: dict[str, str]) -> object:
        asked.append(data.get("page_token"))
        return ask(path, data | changes)

    client.get = asking
    return asked


@pytest.fixture(scope="module")
def real() -> Iterator[ExchangeServer]:
    """AAPL at the close of its bar 2999, in lockstep."""
    with ExchangeServer({"AAPL": AAPL}, Settings(start=int(AAPL.time[2999]) + AFTER_CLOSE)) as server:
        yield server


@pytest.fixture
def week() -> Iterator[ExchangeServer]:
    with ExchangeServer(week_of_bars()) as server:
        yield server


def test_the_history_is_what_the_exchange_has_to_the_bit(real: ExchangeServer) -> None:
    feed, now = feed_of(real.url, AAPL.spec), broker_of(real.url).clock().now
    for count in (1, 2, 611, 2999, 3000):
        assert feed.history("AAPL", count, now) == AAPL[3000 - count : 3000]


def test_too_short_a_history_is_refused(real: ExchangeServer) -> None:
    feed, now = feed_of(real.url, AAPL.spec), broker_of(real.url).clock().now
    expected = "AAPL: found 3000 complete bars, expected 3001: trade a symbol with a longer history, or wait"
    with pytest.raises(BarsError, match=expected):
        feed.history("AAPL", 3001, now)
    with pytest.raises(BarsError, match="ZZZ: found 0 complete bars, expected 5"):
        feed.history("ZZZ", 5, now)


def test_each_new_bar_comes_once_and_only_when_it_is_complete() -> None:
    """Over 40 days, looked at at every open and every close."""
    start = 3000
    with ExchangeServer({"AAPL": AAPL}, Settings(start=int(AAPL.time[start - 1]) + AFTER_CLOSE)) as server:
        broker, feed = broker_of(server.url), feed_of(server.url, AAPL.spec)
        bars = feed.history("AAPL", 611, broker.clock().now)
        for day in range(40):
            server.advance(events=1)
            opened = feed.poll("AAPL", bars, broker.clock().now)
            assert (opened.new, opened.refused) == (0, ())
            assert opened.bars is bars
            server.advance(events=1)
            closed = feed.poll("AAPL", bars, broker.clock().now)
            assert (closed.new, closed.refused, closed.revised) == (1, (), False)
            bars = closed.bars
            assert bars == AAPL[start - 611 : start + day + 1]
        assert feed.history("AAPL", 611, broker.clock().now) == bars[-611:]


def test_more_days_are_asked_for_until_there_are_enough_bars() -> None:
    """A stock that trades every third day. Its newest bar waits for the two before it."""
    columns = AAPL.columns
    rare = Bars("RARE", AAPL.spec, columns.time[::3][:30], *(column[::3][:30] for column in columns[1:]))
    with ExchangeServer({"AAPL": AAPL[:90], "RARE": rare}, Settings(start=int(AAPL.time[89]) + AFTER_CLOSE)) as server:
        feed, now = feed_of(server.url, AAPL.spec), broker_of(server.url).clock().now
        asked = counted(feed)
        assert feed.history("RARE", 25, now) == rare[4:29]
        assert len(asked) == 2
        with pytest.raises(
            BarsError, match=r"RARE: found 29 complete bars, expected 30; .* refused, the first: missing"
        ):
            feed.history("RARE", 30, now)
        assert len(asked) == 5


@pytest.mark.parametrize("asleep", [1, 2, 7])
def test_whoever_slept_gets_what_was_missed(week: ExchangeServer, asleep: int) -> None:
    broker, feed, held = broker_of(week.url), feed_of(week.url), week_of_bars()["AAA"]
    bars = feed.history("AAA", 1, broker.clock().now)
    week.advance(bars=asleep)
    found = feed.poll("AAA", bars, broker.clock().now)
    assert found.bars == held[: asleep + 1]
    assert found.new == min(asleep, 5)


@pytest.mark.parametrize("start", np.linspace(700, 3200, tiers.START_BARS).astype(int).tolist())
def test_a_feed_that_starts_at_any_bar_has_the_same_bars(start: int) -> None:
    with ExchangeServer({"AAPL": AAPL}, Settings(start=int(AAPL.time[start]) + AFTER_CLOSE)) as server:
        broker, feed = broker_of(server.url), feed_of(server.url, AAPL.spec)
        bars = feed.history("AAPL", 150, broker.clock().now)
        server.advance(bars=2)
        assert feed.poll("AAPL", bars, broker.clock().now).bars == AAPL[start - 149 : start + 3]


def test_an_early_close_completes_its_bar_early() -> None:
    """On the Friday after Thanksgiving trading ends at 13:00."""
    days = ("2012-11-20", "2012-11-21", "2012-11-23", "2012-11-26")
    held = bars_of("AAA", AAA_ROWS[:4], days)
    with ExchangeServer({"AAA": held}) as server:
        broker, feed = broker_of(server.url), feed_of(server.url)
        server.advance(bars=2)
        now = broker.clock().now
        assert now == instant("2012-11-23T18:00Z")
        assert feed.history("AAA", 2, now) == held[1:3]
        assert feed.history("AAA", 2, now - 1) == held[:2]


def test_bars_within_the_day_are_read_as_well() -> None:
    spec = BarSpec("1Hour", "raw")
    starts = [f"2012-10-26T{hour:02}:00Z" for hour in (14, 15, 16, 17)]
    held = bars_of("AAA", AAA_ROWS[:4], starts, spec)
    with ExchangeServer({"AAA": held}) as server:
        broker, feed = broker_of(server.url), feed_of(server.url, spec)
        bars = feed.history("AAA", 1, broker.clock().now)
        server.advance(bars=2)
        assert feed.poll("AAA", bars, broker.clock().now).bars == held[:3]


def test_an_answer_of_many_pages_is_put_together(over: ExchangeServer) -> None:
    """The exchange cuts pages where it is asked to: here after every bar."""
    feed, now = feed_of(over.url), broker_of(over.url).clock().now
    asked = counted(feed, limit="1")
    assert feed.history("AAA", 6, now) == week_of_bars()["AAA"]
    assert len(asked) == len(set(asked)) == 6


def test_a_page_that_comes_again_and_again_is_an_error() -> None:
    again = Answer(200, json.dumps({"bars": {"AAA": TOLD[:1]}, "next_page_token": "same"}))
    with scripted(Answer(200, "[]"), again) as script, pytest.raises(BrokerError, match="found page 'same' again"):
        feed_of(script.url)._fetch("AAA", 0, 1)


@pytest.fixture(scope="module")
def over() -> Iterator[ExchangeServer]:
    """The exchange after the last day, which no test moves."""
    with ExchangeServer(week_of_bars()) as server:
        server.advance(bars=5)
        yield server


@pytest.fixture
def corrupt(over: ExchangeServer) -> Iterator[Any]:
    """A feed whose trading side is the exchange after its last day, and whose data side says what it is told."""
    with scripted(Answer(200, "{}")) as script:
        data, trading = alpaca_of(script.url), broker_of(over.url)

        def tell(*bars: dict[str, Any]) -> None:
            script.answers = [Answer(200, json.dumps({"bars": {"AAA": bars}, "next_page_token": None}))]

        yield Feed(data, trading, RAW), tell, trading.clock()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"c": float("nan")}, "close is nan, expected a finite number"),
        ({"c": None}, "close is None, expected a number"),
        ({"c": "15"}, "close is '15', expected a number"),
        ({"l": 0}, "low is 0, expected a price"),
        ({"h": 15.0}, "high 15 is below max"),
        ({"t": "soon"}, "time: found none that can be read"),
        ({"c": 150.0, "h": 151.0}, "spike: found a close of 150 after 14.5"),
    ],
)
def test_a_corrupt_bar_is_refused_once_and_the_rest_is_used(corrupt: Any, changes: dict[str, Any], reason: str) -> None:
    feed, tell, clock = corrupt
    tell(*TOLD[:5], TOLD[5] | changes)
    bars = feed.history("AAA", 4, clock.now)
    assert bars == week_of_bars()["AAA"][1:5]
    tell(TOLD[4], TOLD[5] | changes)
    fresh = Feed(feed._client, feed._broker, RAW)
    first, second = (fresh.poll("AAA", bars, clock.now) for _ in range(2))
    assert (first.new, first.bars, second.new) == (0, bars, 0)
    assert [reason in refused.reason for refused in first.refused] == [True]
    assert second.refused == ()
    tell(TOLD[4], TOLD[5])
    assert fresh.poll("AAA", bars, clock.now).bars == week_of_bars()["AAA"][1:]


def test_only_corrupt_bars_are_no_bars(corrupt: Any) -> None:
    feed, tell, clock = corrupt
    tell(*(told | {"h": told["l"] / 2} for told in TOLD))
    with pytest.raises(
        BarsError, match=r"AAA: found 0 complete bars, expected 2; 6 refused, the first: high 4\.5 is below"
    ):
        feed.history("AAA", 2, clock.now)


def test_a_bar_that_changed_has_all_read_anew(corrupt: Any) -> None:
    """A dividend moves all adjusted prices: old and new ones side by side would show a move that never was."""
    feed, tell, clock = corrupt
    tell(*TOLD[:4])
    bars = feed.history("AAA", 3, clock.now)
    tell(*(told | {name: told[name] / 2 for name in "ohlc"} for told in TOLD))
    found = feed.poll("AAA", bars, clock.now)
    halved = [(o / 2, h / 2, low / 2, c / 2, v) for o, h, low, c, v in AAA_ROWS]
    assert found.bars == bars_of("AAA", halved, WEEK)[3:]
    assert (found.new, found.revised, found.refused) == (2, True, ())


def test_a_changed_bar_without_a_history_is_refused(corrupt: Any) -> None:
    feed, tell, clock = corrupt
    tell(*TOLD[:4])
    bars = feed.history("AAA", 4, clock.now)
    tell(TOLD[3] | {"v": 1})
    found = feed.poll("AAA", bars, clock.now)
    assert (found.bars, found.new, found.revised) == (bars, 0, False)
    assert found.refused[0].reason.startswith("revised: found other numbers for known bars, and AAA: found 1 complete")


def test_a_hole_waits_and_is_then_told(corrupt: Any) -> None:
    feed, tell, clock = corrupt
    tell(*TOLD[:3])
    bars = feed.history("AAA", 3, clock.now)
    tell(TOLD[2], TOLD[4])
    waiting = feed.poll("AAA", bars, clock.now)
    assert waiting.new == 0
    assert "hole: found no bar of 2012-10-31 before it" in waiting.refused[0].reason
    tell(TOLD[2], TOLD[4], TOLD[5])
    went_on = feed.poll("AAA", bars, clock.now)
    assert went_on.new == 2
    assert went_on.refused[0].reason.startswith("missing: found no bar of this session")


@pytest.mark.parametrize(
    "body",
    [
        "<html>",
        "null",
        "{}",
        '{"bars": 5}',
        '{"bars": {"AAA": 5}}',
        '{"bars": {}, "next_page_token": 5}',
        '{"bars": [1]}',
    ],
)
def test_an_answer_that_is_no_page_is_an_error(corrupt: Any, body: str) -> None:
    with scripted(Answer(200, body)) as script, pytest.raises(BrokerError) as caught:
        feed_of(script.url)._fetch("AAA", 0, 1)
    assert caught.value.problem.kind is Kind.UNREADABLE


def test_bars_that_are_no_objects_are_bars_without_a_time() -> None:
    bars, token = read_page({"bars": {"AAA": [None, 5, {"t": "2012-10-26T04:00:00Z", "o": True}]}}, "AAA")
    assert [bar.time for bar in bars] == [MISSING, MISSING, instant("2012-10-26T04:00Z")]
    assert (bars[2].open, bars[2].close, token) == (True, None, None)
    assert read_page({"bars": None}, "AAA") == ([], None)


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
KEYS = st.sampled_from(["t", "o", "bars", "AAA", "next_page_token"])
ANY = st.recursive(NUMBERS, lambda part: st.lists(part, max_size=3) | st.dictionaries(KEYS, part, max_size=3))


def page_or_error(answer: Any) -> tuple[list[Bar], str | None] | BrokerError:
    try:
        return read_page(answer, "AAA")
    except BrokerError as error:
        return error


@given(ANY)
def test_any_answer_is_a_page_or_an_error(answer: Any) -> None:
    found = page_or_error(answer)
    if isinstance(found, BrokerError):
        assert found.problem.kind is Kind.UNREADABLE
    else:
        assert all(isinstance(bar, Bar) for bar in found[0])
        assert found[1] is None or found[1]


@pytest.mark.parametrize(
    ("moment", "overdue"),
    [
        ("2012-10-26T20:00:00Z", 0.0),
        ("2012-10-29T14:00:00Z", 0.0),
        ("2012-10-31T13:30:00Z", 0.0),
        ("2012-10-31T13:45:00Z", 900.0),
        ("2012-10-31T13:45:01Z", 901.0),
        ("2012-11-01T13:30:00Z", 86_400.0),
    ],
)
def test_a_bar_can_be_decided_on_until_a_little_after_the_next_open(
    over: ExchangeServer, moment: str, overdue: float
) -> None:
    """The bar of Friday the 26th; the hurricane closed the exchange until Wednesday."""
    feed, bars = feed_of(over.url), week_of_bars()["AAA"][:3]
    clock = replace(broker_of(over.url).clock(), now=instant(moment))
    assert feed.overdue(bars, clock.now) == overdue
    expected = f"the bar of 2012-10-26T04:00:00Z was to be acted on {overdue:.0f} s ago, expected at most 900 s: "
    assert feed.late(bars, clock) == (expected + "no decision on it" if overdue > GRACE_SECONDS["1Day"] else "")


def test_a_request_names_timeframe_adjustment_and_feed() -> None:
    with scripted(Answer(200, '{"bars": {}}')) as script:
        start, end = instant("2012-10-26T13:30Z"), instant("2012-10-26T14:00Z") + 5
        feed_of(script.url, BarSpec("1Hour", "split"))._fetch("AAA", start, end)
        (_, path, _, _) = script.asked[0]
    assert dict(parse_qsl(urlsplit(path).query)) == {
        "symbols": "AAA",
        "timeframe": "1Hour",
        "adjustment": "split",
        "feed": "iex",
        "start": "2012-10-26T13:30:00.000000000Z",
        "end": "2012-10-26T14:00:00.000000005Z",
        "limit": "10000",
    }


def test_a_market_that_never_closes_is_not_this_feeds() -> None:
    with pytest.raises(SpecError, match=r"bars\.session: found continuous, expected regular or extended"):
        feed_of("http://127.0.0.1:1", BarSpec("1Day", "raw", session="continuous"))


def test_a_mute_data_server_is_an_error_and_not_the_end(over: ExchangeServer) -> None:
    with scripted(Answer(200, "{}", delay=1.0)) as script:
        feed = Feed(alpaca_of(script.url, timeout=(0.2, 0.2), attempts=2), broker_of(over.url), RAW)
        with pytest.raises(BrokerError, match="unreachable: no answer: ReadTimeout"):
            feed.poll("AAA", week_of_bars()["AAA"][:1], instant("2012-10-24T20:00Z"))
