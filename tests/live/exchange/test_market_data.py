"""Bars as the data API gives them, asked for by alpaca-py's real client."""

from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest, StockLatestBarRequest
from alpaca.data.timeframe import TimeFrame
from hypothesis import given
from hypothesis import strategies as st

from live.exchange.market_data import BarQuery, page_of, visible_bars
from live.exchange.server import SIMULATED_KEY_ID, SIMULATED_SECRET_KEY, ExchangeServer, Settings
from live.exchange.tape import Tape
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bars import Bars
from tests.live.exchange.venues import AAA_ROWS, bars_of, data_client, instant, week_of_bars
from training.series import demo_bars

KEYS = {"APCA-API-KEY-ID": SIMULATED_KEY_ID, "APCA-API-SECRET-KEY": SIMULATED_SECRET_KEY}
OCTOBER = datetime(2012, 10, 1, tzinfo=UTC)
TAPE = Tape(week_of_bars())
OPEN_NS = 19 * 1_800 * 10**9  # half past nine, after midnight


def asked(symbols: str | list[str], **given: Any) -> StockBarsRequest:
    return StockBarsRequest(symbol_or_symbols=symbols, timeframe=TimeFrame.Day, **{"start": OCTOBER, **given})


@pytest.mark.server
def test_complete_bars_are_told_as_they_are(reading: ExchangeServer) -> None:
    bars = data_client(reading.url).get_stock_bars(asked("AAA"))["AAA"]
    assert [bar.timestamp for bar in bars] == [datetime(2012, 10, day, 4, tzinfo=UTC) for day in (24, 25, 26)]
    assert [(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars] == list(AAA_ROWS[:3])
    assert {(bar.trade_count, bar.vwap) for bar in bars} == {(None, None)}


@pytest.mark.server
def test_the_forming_bar_is_told_while_the_session_is_open(
    server: ExchangeServer, data: StockHistoricalDataClient
) -> None:
    """As Alpaca does: whoever decides on the last bar of an answer decides on a bar that isn't complete."""
    server.advance(events=1)
    forming = data.get_stock_bars(asked("AAA"))["AAA"][-1]
    assert forming.timestamp == datetime(2012, 10, 25, 4, tzinfo=UTC)
    assert {forming.open, forming.high, forming.low, forming.close} == {11.0}
    assert forming.volume == 0
    server.advance(events=1)
    complete = data.get_stock_bars(asked("AAA"))["AAA"][-1]
    assert (complete.timestamp, complete.close, complete.volume) == (forming.timestamp, 11.25, 2000)


@pytest.mark.server
def test_a_symbol_without_bars_is_absent(server: ExchangeServer, data: StockHistoricalDataClient) -> None:
    assert set(data.get_stock_bars(asked(["AAA", "NEW", "ZZZ"])).data) == {"AAA"}
    server.advance(bars=2)
    assert set(data.get_stock_bars(asked(["AAA", "NEW", "ZZZ"])).data) == {"AAA", "NEW"}
    assert data.get_stock_bars(asked("ZZZ")).data == {}


@pytest.mark.server
def test_without_start_only_today_is_told(server: ExchangeServer, data: StockHistoricalDataClient) -> None:
    server.advance(bars=1)
    bars = data.get_stock_bars(asked("AAA", start=None))["AAA"]
    assert [bar.timestamp for bar in bars] == [datetime(2012, 10, 25, 4, tzinfo=UTC)]


@pytest.mark.server
def test_start_and_end_are_included_and_order_may_be_reversed(reading: ExchangeServer) -> None:
    data = data_client(reading.url)
    first, second = datetime(2012, 10, 24, 4, tzinfo=UTC), datetime(2012, 10, 25, 4, tzinfo=UTC)
    both = data.get_stock_bars(asked("AAA", start=first, end=second, sort="desc"))["AAA"]
    assert [bar.timestamp for bar in both] == [second, first]
    between = data.get_stock_bars(asked("AAA", start=first.replace(minute=1), end=second.replace(hour=3)))
    assert between.data == {}


@pytest.mark.server
def test_a_page_is_filled_symbol_by_symbol(reading: ExchangeServer) -> None:
    query = {"symbols": "BBB,AAA,NEW", "timeframe": "1Day", "start": "2012-10-01", "limit": "2"}
    pages, token = [], ""
    while token is not None:
        answer = requests.get(
            f"{reading.url}/v2/stocks/bars",
            params=query | {"page_token": token} if token else query,
            headers=KEYS,
            timeout=5,
        ).json()
        pages.append({symbol: len(bars) for symbol, bars in answer["bars"].items()})
        token = answer["next_page_token"]
    assert pages == [{"AAA": 2}, {"AAA": 1, "BBB": 1}, {"BBB": 2}, {"NEW": 1}]


@pytest.mark.server
def test_the_client_puts_pages_together_and_keeps_its_limit(reading: ExchangeServer) -> None:
    data = data_client(reading.url)
    assert {symbol: len(bars) for symbol, bars in data.get_stock_bars(asked(["AAA", "BBB"], limit=4)).data.items()} == {
        "AAA": 3,
        "BBB": 1,
    }


@pytest.mark.server
def test_the_latest_bar_is_the_forming_one(server: ExchangeServer, data: StockHistoricalDataClient) -> None:
    latest = StockLatestBarRequest(symbol_or_symbols=["AAA", "NEW", "ZZZ"])
    assert {symbol: bar.close for symbol, bar in data.get_stock_latest_bar(latest).items()} == {"AAA": 10.5}
    server.advance(events=1)
    assert data.get_stock_latest_bar(latest)["AAA"].close == 11.0


@pytest.mark.server
def test_real_bars_come_over_the_wire_to_the_bit() -> None:
    """All 3,270 daily bars of AAPL with their adjusted prices: read back, they are the same table."""
    held = demo_bars("AAPL")
    with ExchangeServer({"AAPL": held}, Settings(start=int(held.time[-1]) + 86_400 * 10**9)) as server:
        request = asked("AAPL", start=datetime(2000, 1, 1, tzinfo=UTC), adjustment=Adjustment.ALL)
        told = data_client(server.url).get_stock_bars(request)["AAPL"]
        with pytest.raises(APIError, match="adjustment raw is not held"):
            data_client(server.url).get_stock_bars(asked("AAPL"))
    rows = [(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in told]
    assert len(rows) == 3270
    assert bars_of("AAPL", rows, [bar.timestamp for bar in told], held.spec) == held


@pytest.mark.server
@pytest.mark.parametrize(("timeframe", "unit"), [("1Hour", TimeFrame.Hour), ("1Min", TimeFrame.Minute)])
def test_bars_within_the_day_work_as_well(timeframe: str, unit: TimeFrame) -> None:
    starts = {"1Hour": "2012-10-26T{:02}:00Z", "1Min": "2012-10-26T14:{:02}Z"}[timeframe]
    bars = bars_of("AAA", AAA_ROWS[:4], [starts.format(15 + n) for n in range(4)], BarSpec(timeframe, "raw"))
    with ExchangeServer({"AAA": bars}) as server:
        data = data_client(server.url)
        request = StockBarsRequest(symbol_or_symbols="AAA", timeframe=unit, start=OCTOBER)
        assert len(data.get_stock_bars(request)["AAA"]) == 1
        server.advance(events=1)
        told = data.get_stock_bars(request)["AAA"]
    assert [(bar.close, bar.volume) for bar in told] == [(10.5, 1000), (11.0, 0)]


@given(
    st.lists(st.sampled_from(["AAA", "BBB", "NEW", "ZZZ"]), min_size=1, unique=True),
    st.integers(0, 12),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from([0, instant("2012-10-25T04:00Z"), instant("2012-10-25T05:00Z")]),
    st.sampled_from([instant("2012-10-26T03:59Z"), instant("2012-10-26T04:00Z"), instant("2012-11-01T04:00Z")]),
)
def test_all_pages_together_are_the_whole_answer(
    symbols: list[str], position: int, limit: int, newest_first: bool, start: int, end: int
) -> None:
    """Whatever the limit: nothing twice, nothing left out, in the order of symbols and times."""
    token, told = None, []
    while True:
        page = page_of(TAPE, BarQuery(tuple(symbols), start, end, limit, newest_first, token), position)
        rows = [(symbol, bar.time) for symbol, bars in page.bars.items() for bar in bars]
        assert len(rows) <= limit
        told += rows
        token = page.next_page_token
        if token is None:
            break
        assert len(rows) == limit
    expected = [
        (symbol, int(time))
        for symbol in sorted(set(symbols) - {"ZZZ"})
        for time in TAPE.bars[symbol].time[:: -1 if newest_first else 1]
        if start <= time <= end and time + OPEN_NS <= TAPE.time_at(position)
    ]
    assert told == expected


@given(st.integers(0, 12), st.sampled_from(["AAA", "BBB", "NEW"]))
def test_nothing_of_the_future_is_visible(position: int, symbol: str) -> None:
    """Bars whose later rows differ wildly look the same until those rows open."""
    bars = TAPE.bars[symbol]
    known = len(visible_bars(TAPE, symbol, position, 0, 2**62))
    done = TAPE.completed(symbol, position)
    other = Bars(symbol, bars.spec, bars.time, *(column.copy() for column in bars.columns[1:]))
    for name in ("high", "low", "close", "volume"):
        changed = getattr(other, name).copy()
        changed[done:] *= 3
        object.__setattr__(other, name, changed)
    changed = other.open.copy()
    changed[known:] *= 3
    object.__setattr__(other, "open", changed)
    disguised = Tape({**week_of_bars(), symbol: other})
    assert visible_bars(disguised, symbol, position, 0, 2**62) == visible_bars(TAPE, symbol, position, 0, 2**62)
