"""The bars that training starts from: a generated mean-reverting series, and the real daily bars of the demo.

The demo's file (bokeh_sampledata, `stocks.csv.gz`) holds AAPL, FB, GOOG, IBM and MSFT up to 2013-03-01, in the columns
Ticker, Date, Open, High, Low, Close, Volume and Adj Close. What was found in it:
- Close is raw: it halves on the days of splits (AAPL 2000-06-21: 101.25, then 55.63).
- Volume is raw: it comes in round lots of 100, and about half of the counts of lots are odd before the splits too. Had
  volume been multiplied by the later splits (2 or 4), all would be even.
- Adj Close was adjusted on a later day than the file ends: on 2013-03-01 AAPL closes at 430.47 with an Adj Close of
  56.14 (the 7:1 split of 2014). So bars adjusted `all` have the scale of that later day, while `split` and all volumes
  know the splits within the file alone.
"""

from __future__ import annotations

import gzip
import math
from datetime import date
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.adjustment import adjust
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.errors import BarsError

DEMO_SOURCE = "bokeh_sampledata/stocks.csv.gz"
DEMO_SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
_COLUMNS = {
    "Date": "time",
    "Open": "open",
    "High": "high",
    "Low": "low",
    "Close": "close",
    "Volume": "volume",
    "Adj Close": "adj_close",
}
_STEPS_A_BAR = 16


@cache
def _stocks() -> pd.DataFrame:
    source = files("bokeh_sampledata") / "_data" / "stocks.csv.gz"
    with source.open("rb") as packed, gzip.open(packed) as text:
        return pd.read_csv(text)


def stocks_csv() -> pd.DataFrame:
    """The demo's file as it is, all tickers below each other: Ticker, Date (naive text), Open, …, Volume, Adj Close."""
    return _stocks().copy()


def demo_bars(symbol: str, *, adjustment: str = "all") -> Bars:
    """Real daily bars of one ticker of the demo's file, adjusted as said. BarsError for a ticker not in the file."""
    stocks = stocks_csv()
    known = sorted(stocks["Ticker"].unique())
    if symbol not in known:
        raise BarsError(f"demo bars: found no ticker {symbol!r}, expected one of {', '.join(known)}")
    raw = stocks[stocks["Ticker"] == symbol].rename(columns=_COLUMNS)
    return adjust(raw, symbol=symbol, spec=BarSpec("1Day", adjustment))


def mean_reverting_bars(
    *, length: int = 2000, seed: int = 0, half_life: float = 2.0, volatility: float = 0.03, symbol: str = "MEANREV"
) -> Bars:
    """Daily bars whose log price x is an Ornstein-Uhlenbeck process around log 100: the same seed gives the same bytes.

    dx = -θ (x - log 100) dt + σ dW with θ = ln 2 / half_life (in bars) and σ = volatility (a square root of a bar),
    sampled from its stationary distribution on by the exact discretisation (Gillespie 1996, Phys. Rev. E 54, 2084) at
    16 steps a bar. A bar's open, high, low and close are the first, greatest, least and last of its 16 prices, in
    cents; the overnight gap is one step. Volume is log-normal around 1,000,000 shares and grows with the bar's range.
    Bars start on business days from 2000-01-03.
    """
    random = np.random.default_rng(seed)
    rate, step_volatility = math.log(2) / half_life / _STEPS_A_BAR, volatility / math.sqrt(_STEPS_A_BAR)
    path = _ornstein_uhlenbeck(random.standard_normal(length * _STEPS_A_BAR), rate, step_volatility)
    prices = np.round(100.0 * np.exp(path.reshape(length, _STEPS_A_BAR)), 2)
    high, low = prices.max(axis=1), prices.min(axis=1)
    surprise = 0.3 * random.standard_normal(length) + 0.5 * (high / low - 1.0) / volatility
    frame = pd.DataFrame(
        {
            "time": pd.bdate_range(date(2000, 1, 3), periods=length),
            "open": prices[:, 0],
            "high": high,
            "low": low,
            "close": prices[:, -1],
            "volume": np.round(1e6 * np.exp(surprise)),
        }
    )
    return Bars.from_frame(frame, symbol=symbol, spec=BarSpec("1Day", "all"))


def _ornstein_uhlenbeck(noise: npt.NDArray[np.float64], rate: float, volatility: float) -> npt.NDArray[np.float64]:
    """x[0] from the stationary distribution, then x[t] = decay x[t-1] + spread noise[t]; rate and volatility a step."""
    decay = math.exp(-rate)
    spread = volatility * math.sqrt(-math.expm1(-2 * rate) / (2 * rate))
    path: npt.NDArray[np.float64] = spread * noise
    path[:1] = volatility / math.sqrt(2 * rate) * noise[:1]
    for step in range(1, len(path)):
        path[step] += decay * path[step - 1]
    return path
