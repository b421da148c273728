"""Small venues for tests: bars written out by hand, exchanges over them, and alpaca-py's clients for a server."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import pandas as pd
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.trading.client import TradingClient

from live.exchange.server import SIMULATED_KEY_ID, SIMULATED_SECRET_KEY, Settings, build_exchange
from live.exchange.venue import Exchange
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bars import Bars

WEEK = ("2012-10-24", "2012-10-25", "2012-10-26", "2012-10-31", "2012-11-01", "2012-11-02")
"""Six trading days, two weekdays without trading (hurricane Sandy) among them; clocks go back on the Sunday after."""
Row = tuple[float, float, float, float, float]
AAA_ROWS: tuple[Row, ...] = (
    (10.0, 11.0, 9.0, 10.5, 1000.0),
    (11.0, 12.0, 10.0, 11.25, 2000.0),
    (12.0, 13.5, 11.5, 12.75, 3000.0),
    (13.0, 14.0, 12.0, 13.25, 4000.0),
    (14.0, 15.0, 13.0, 14.5, 5000.5),
    (15.0, 16.0, 14.0, 15.125, 6000.0),
)


def bars_of(symbol: str, rows: Sequence[Row], times: Sequence[object], spec: BarSpec | None = None) -> Bars:
    """Bars from (open, high, low, close, volume) and their starts."""
    frame = pd.DataFrame(list(rows), columns=["open", "high", "low", "close", "volume"])
    return Bars.from_frame(frame.assign(time=list(times)), symbol=symbol, spec=spec or BarSpec("1Day", "raw"))


def week_of_bars() -> dict[str, Bars]:
    """AAA trades all six days, BBB at a tenth of its prices, NEW from the third day on."""
    tenth = [(*tuple(value / 10 for value in row[:4]), row[4]) for row in AAA_ROWS]
    return {
        "AAA": bars_of("AAA", AAA_ROWS, WEEK),
        "BBB": bars_of("BBB", tenth, WEEK),
        "NEW": bars_of("NEW", AAA_ROWS[2:], WEEK[2:]),
    }


def exchange_of(bars: dict[str, Bars], *, cash: str = "100000", **settings: object) -> Exchange:
    """An exchange in lockstep at the close of the first bar."""
    return build_exchange(bars, Settings(cash=Decimal(cash), **settings))


def instant(text: str) -> int:
    """UTC nanoseconds of a time with a zone."""
    return pd.Timestamp(text).as_unit("ns").value


def day(text: str) -> date:
    """A date."""
    return date.fromisoformat(text)


def trading_client(url: str, *, secret_key: str = SIMULATED_SECRET_KEY) -> TradingClient:
    """alpaca-py's own client, as anybody would make it."""
    return TradingClient(SIMULATED_KEY_ID, secret_key, paper=True, url_override=url)


def data_client(url: str, *, secret_key: str = SIMULATED_SECRET_KEY) -> StockHistoricalDataClient:
    """alpaca-py's own client, as anybody would make it."""
    return StockHistoricalDataClient(SIMULATED_KEY_ID, secret_key, url_override=url)
