"""Hypothesis strategies that tests of several parts share: bar specs, frames of valid bars, Bars."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlflow_ppo_flavor.contract.spec import ADJUSTMENTS, SESSIONS, TIMEFRAMES, BarSpec
from mlflow_ppo_flavor.decision.bars import Bars

# Clocks change at 02:00 in the first three, at midnight in Santiago and Beirut; UTC has none.
ZONES = ("America/New_York", "Europe/London", "Australia/Sydney", "America/Santiago", "Asia/Beirut", "UTC")
LENGTHS = {"1Hour": pd.Timedelta(hours=1), "1Min": pd.Timedelta(minutes=1)}
DAILY = BarSpec("1Day", "all")
HOURLY = BarSpec("1Hour", "split")

bar_specs = st.builds(
    BarSpec,
    st.sampled_from(TIMEFRAMES),
    st.sampled_from(ADJUSTMENTS),
    st.sampled_from(SESSIONS),
    st.sampled_from(ZONES),
)
symbols = st.from_regex(r"[A-Z]{1,5}(/[A-Z]{3})?", fullmatch=True)


@st.composite
def bar_times(draw: st.DrawFn, spec: BarSpec, size: int) -> pd.DatetimeIndex:
    """Valid bar starts in UTC: ascending, a timeframe or more apart, and local midnights for daily bars."""
    gaps = np.cumsum(draw(hnp.arrays(np.int64, size, elements=st.integers(1, 5))))
    first = pd.Timestamp(draw(st.dates(pd.Timestamp("1971-01-01").date(), pd.Timestamp("2060-01-01").date())))
    if spec.timeframe == "1Day":
        days = pd.DatetimeIndex(first + pd.to_timedelta(gaps, unit="D"))
        local = days.tz_localize(spec.time_zone, ambiguous=np.ones(size, bool), nonexistent="shift_forward")
        return local.tz_convert("UTC")
    return pd.DatetimeIndex(first.tz_localize("UTC") + gaps * LENGTHS[spec.timeframe])


def _floats(size: int, low: float, high: float) -> st.SearchStrategy[npt.NDArray[np.float64]]:
    return hnp.arrays(np.float64, size, elements=st.floats(low, high))


@st.composite
def bar_frames(draw: st.DrawFn, spec: BarSpec = DAILY, min_size: int = 1, max_size: int = 12) -> pd.DataFrame:
    """A valid frame of the six columns: any mix of prices, also flat bars, bars without wicks and without volume."""
    size = draw(st.integers(min_size, max_size))
    opened, close = draw(_floats(size, 1e-3, 1e6)), draw(_floats(size, 1e-3, 1e6))
    up, down = draw(_floats(size, 1.0, 3.0)), draw(_floats(size, 0.1, 1.0))
    return pd.DataFrame(
        {
            "time": draw(bar_times(spec, size)),
            "open": opened,
            "high": np.maximum(opened, close) * up,
            "low": np.minimum(opened, close) * down,
            "close": close,
            "volume": draw(_floats(size, 0.0, 1e12)),
        }
    )


@st.composite
def raw_frames(draw: st.DrawFn, max_size: int = 12) -> tuple[pd.DataFrame, dict[int, float]]:
    """A valid daily frame with `adj_close`, and its {row: split ratio}: dividends up to 3 %, splits 3:1, 2:1, 1:4."""
    frame = draw(bar_frames(DAILY, max_size=max_size))
    elements = st.sampled_from([1.0, 1.0, 1.0, 2.0, 3.0, 0.25])
    ratios = draw(hnp.arrays(np.float64, len(frame), elements=elements))
    factor = np.cumprod(ratios * draw(_floats(len(frame), 1.0, 1.03)))
    splits = {row: float(ratio) for row, ratio in enumerate(ratios) if row and ratio != 1.0}
    return frame.assign(adj_close=frame["close"] * (factor / factor[-1])), splits


@st.composite
def bars(draw: st.DrawFn, spec: BarSpec | None = None, min_size: int = 1, max_size: int = 12) -> Bars:
    """Valid Bars of any symbol; of any bar spec unless one is given."""
    chosen = draw(bar_specs) if spec is None else spec
    frame = draw(bar_frames(chosen, min_size=min_size, max_size=max_size))
    return Bars.from_frame(frame, symbol=draw(symbols), spec=chosen)


@st.composite
def rough_bars(draw: st.DrawFn, size: int) -> Bars:
    """`size` daily Bars of a seeded random walk: also flat stretches, no volume, tenfold jumps and tiny moves."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    level, spread = draw(st.sampled_from([1e-4, 1.0, 150.0, 3e5])), draw(st.sampled_from([0.0, 1e-5, 0.02, 0.3]))
    moves = spread * random.standard_normal((size, 4))
    moves[random.random(size) < draw(st.sampled_from([0.0, 0.3, 0.95]))] = 0.0
    jumps = np.where(random.random(size) < 0.003, random.choice([-1.0, 1.0], size) * np.log(10), 0.0)
    drift = np.clip(np.cumsum(moves[:, 0]) + np.cumsum(jumps), -8, 8)
    close, opened = level * np.exp(drift), level * np.exp(drift - moves[:, 1] / 2)
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    volume = np.round(np.exp(random.normal(12, 1, size))) * (
        random.random(size) >= draw(st.sampled_from([0.0, 0.5, 1.0]))
    )
    frame = pd.DataFrame(
        {
            "time": pd.bdate_range("2001-01-01", periods=size),
            "open": opened,
            "high": high * np.exp(np.abs(moves[:, 2])),
            "low": low * np.exp(-np.abs(moves[:, 3])),
            "close": close,
            "volume": volume,
        }
    )
    return Bars.from_frame(frame, symbol="ROUGH", spec=DAILY)
