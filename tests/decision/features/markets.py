"""Bars that the feature tests run on: real ones in whole cents and adjusted, generated ones, and nasty ones."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_check import PRICES
from mlflow_ppo_flavor.decision.bars import Bars
from tests.strategies import DAILY
from training.series import DEMO_SYMBOLS, demo_bars, mean_reverting_bars

MARKETS = (*(f"{symbol} {kind}" for symbol in DEMO_SYMBOLS for kind in ("in cents", "all")), "reverting", "trending")


@cache
def market(name: str) -> Bars:
    """One of MARKETS. Those in cents, and the generated ones, have whole numbers for prices, so that ties are exact."""
    if name == "reverting":
        return whole(mean_reverting_bars(length=2000, seed=0))
    if name == "trending":
        return whole(random_walk(2000, seed=1, volatility=0.03, drift=0.001))
    symbol, _, kind = name.partition(" ")
    return demo_bars(symbol, adjustment="all") if kind == "all" else whole(demo_bars(symbol, adjustment="raw"))


def has_whole_prices(name: str) -> bool:
    """Whether a market's prices are whole numbers."""
    return not name.endswith(" all")


def whole(bars: Bars) -> Bars:
    """Bars with their prices in whole hundredths."""
    return dataclasses.replace(bars, **{name: np.round(100 * getattr(bars, name)) for name in PRICES})


def random_walk(
    size: int,
    *,
    seed: int = 0,
    volatility: float = 0.02,
    drift: float = 0.0,
    spec: BarSpec = DAILY,
    first: str = "2001-01-02",
) -> Bars:
    """Bars of a geometric random walk around 100 with gaps, wicks and log-normal volume."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(drift, volatility, size)))
    opened = np.append(close[:1], close[:-1]) * np.exp(random.normal(0, volatility / 3, size))
    up, down = np.exp(np.abs(random.normal(0, volatility / 2, (2, size))))
    steps = {"1Day": "B", "1Hour": "h", "1Min": "min"}
    zone = None if spec.timeframe == "1Day" else "UTC"
    return build(
        close,
        opened=opened,
        high=np.maximum(opened, close) * up,
        low=np.minimum(opened, close) / down,
        volume=random.lognormal(12, 0.5, size),
        time=pd.date_range(first, periods=size, freq=steps[spec.timeframe], tz=zone),
        spec=spec,
    )


def build(
    close: np.ndarray,
    *,
    opened: np.ndarray | None = None,
    high: np.ndarray | None = None,
    low: np.ndarray | None = None,
    volume: np.ndarray | None = None,
    time: pd.DatetimeIndex | None = None,
    spec: BarSpec = DAILY,
) -> Bars:
    """Checked Bars; what isn't given is the close, a volume of 1000, business days."""
    frame = pd.DataFrame(
        {
            "time": pd.bdate_range("2001-01-02", periods=len(close)) if time is None else time,
            "open": close if opened is None else opened,
            "high": close if high is None else high,
            "low": close if low is None else low,
            "close": close,
            "volume": np.full(len(close), 1000.0) if volume is None else volume,
        }
    )
    return Bars.from_frame(frame, symbol="TEST", spec=spec)


@st.composite
def nasty_bars(draw: st.DrawFn, size: int) -> Bars:
    """`size` Bars of stretches that indicators stumble over, each with its own price level, tick, wicks and volume.

    Ticks are 0 or at least 1e-6 of the price, so that no difference lies at the edge of what counts as none.
    """
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ticks = draw(st.sampled_from([(0.0,), (0.0, 0.05), (1e-6, 1e-3), (0.0, 1e-6, 1e-3, 0.05)]))
    jumps = draw(st.sampled_from([(1.0,), (1.0, 10.0, 0.1), (1000.0, 0.001)]))
    volumes = draw(st.sampled_from([(0.0,), (0.0, 1.0, 1e9), (5e5,)]))
    level, stretches, count = draw(st.sampled_from([1e-5, 0.1, 123.45, 9e5])), [], 0
    while count < size:
        stretch = _stretch(random, level, level * random.choice(ticks), random.choice(volumes))
        stretches.append(stretch)
        count += len(stretch)
        level = stretch["close"].iloc[-1] * random.choice(jumps)
        level = level if 1e-8 < level < 1e10 else 1.0
    frame = pd.concat(stretches, ignore_index=True).iloc[:size]
    columns = {name: frame[name].to_numpy() for name in ("close", "high", "low", "volume")}
    return build(**columns, opened=columns["close"] if draw(st.booleans()) else frame["open"].to_numpy())


def _stretch(random: np.random.Generator, level: float, tick: float, volume: float) -> pd.DataFrame:
    """Up to 120 bars of one kind: unmoved, a few ticks to and fro, up and down by turns, or ever up."""
    length = random.integers(1, 120)
    steps = np.clip(np.cumsum(random.integers(-2, 3, length)), -10, 10)
    moves = (np.zeros(length), steps, np.arange(length) % 2, np.arange(length))[random.integers(4)]
    close = level + tick * moves
    opened, wick = np.append(close[:1], close[:-1]), tick * random.integers(0, 4) / 4
    return pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) + wick,
            "low": np.minimum(opened, close) - wick,
            "close": close,
            "volume": volume * random.choice([1.0, 1.0, 3.0], length),
        }
    )
