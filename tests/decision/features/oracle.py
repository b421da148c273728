"""Two independent oracles of the features, both over the whole history: TA-Lib, and pandas as slow as it reads.

TA-Lib resolves ties of ticks (upward = downward movement, an unmoved typical price) by the rounding of its operands;
the features call them ties. So on prices that aren't whole numbers of ticks the features of TIES go by pandas alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import talib

from mlflow_ppo_flavor.decision.bars import Bars

Float64 = npt.NDArray[np.float64]
Values = dict[str, Float64]
TIES = ("adx_14", "plus_di_14", "minus_di_14", "mfi_14", "obv_slope_20")
TIE = 1e-9


def talib_values(bars: Bars) -> Values:
    """{name: float64[n]} of every feature that TA-Lib has, over the whole history; NaN where it has no value yet."""
    o, h, l, c, v = bars.open, bars.high, bars.low, bars.close, bars.volume  # noqa: E741
    macd, signal, histogram = talib.MACD(c, 12, 26, 9)
    k, d = talib.STOCH(h, l, c, 14, 3, 0, 3, 0)
    upper, middle, lower = talib.BBANDS(c, 20, 2, 2)
    values = {f"sma_distance_{n}": c / talib.SMA(c, n) - 1 for n in (10, 20, 50, 200)}
    values |= {f"ema_distance_{n}": c / talib.EMA(c, n) - 1 for n in (12, 26)}
    values |= {f"rsi_{n}": talib.RSI(c, n) / 100 for n in (7, 14)}
    with np.errstate(divide="ignore", invalid="ignore"):
        return values | {
            "macd_12_26": macd / c,
            "macd_signal_9": signal / c,
            "macd_histogram": histogram / c,
            "adx_14": talib.ADX(h, l, c, 14) / 100,
            "plus_di_14": talib.PLUS_DI(h, l, c, 14) / 100,
            "minus_di_14": talib.MINUS_DI(h, l, c, 14) / 100,
            "stochastic_k_14": k / 100,
            "stochastic_d_14": d / 100,
            "roc_12": talib.ROCP(c, 12),
            "cci_20": talib.CCI(h, l, c, 20) / 100,
            "williams_r_14": talib.WILLR(h, l, c, 14) / 100,
            "mfi_14": talib.MFI(h, l, c, v, 14) / 100,
            "atr_14": talib.ATR(h, l, c, 14) / c,
            "bollinger_width_20": (upper - lower) / middle,
            "bollinger_position_20": (c - lower) / (upper - lower),
            "obv_slope_20": talib.LINEARREG_SLOPE(talib.OBV(c, v), 21) / talib.SMA(v, 20),
            "body": talib.BOP(o, h, l, c),
        }


def naive_values(bars: Bars) -> Values:
    """{name: float64[n]} of what TA-Lib lacks, and of TIES, over the whole history; NaN in the first bars."""
    frame = bars.to_frame().set_index("time")
    values = _returns(frame) | _candle(frame) | _volatility(frame) | _volume(frame) | _regime(frame)
    values |= _directional(frame) | _flow(frame) | _calendar(bars)
    return {name: np.asarray(series, dtype=np.float64) for name, series in values.items()}


def _returns(frame: pd.DataFrame) -> dict[str, pd.Series]:
    logs = np.log(frame["close"])
    return {f"return_{n}": logs.diff(n) for n in (1, 2, 5, 10, 20, 60)}


def _candle(frame: pd.DataFrame) -> dict[str, pd.Series]:
    body, extent = frame[["open", "close"]], frame["high"] - frame["low"]
    gap = np.log(frame["open"]) - np.log(frame["close"].shift())
    return {
        "upper_shadow": (frame["high"] - body.max(axis=1)) / extent,
        "lower_shadow": (body.min(axis=1) - frame["low"]) / extent,
        "close_location": (frame["close"] - frame["low"]) / extent,
        "range_pct": extent / frame["close"],
        "gap_1": gap,
        "gap_mean_abs_20": gap.abs().rolling(20).mean(),
    }


def _volatility(frame: pd.DataFrame) -> dict[str, pd.Series]:
    squares = np.log(frame["close"]).diff() ** 2
    extent = np.log(frame["high"] / frame["low"]) ** 2
    values = {f"realised_volatility_{n}": np.sqrt(squares.rolling(n).mean()) for n in (5, 20, 60)}
    return values | {"parkinson_20": np.sqrt(extent.rolling(20).mean() / (4 * np.log(2)))}


def _volume(frame: pd.DataFrame) -> dict[str, pd.Series]:
    volume, close = frame["volume"], frame["close"]
    typical = frame[["high", "low", "close"]].mean(axis=1)
    paid, traded = (typical * volume).rolling(20).sum(), volume.rolling(20).sum()
    return {
        "volume_z_20": (volume - volume.rolling(20).mean()) / volume.rolling(20).std(ddof=0),
        "vwap_distance_20": close / (paid / traded) - 1,
        "obv_slope_20": _obv(frame).rolling(21).apply(lambda w: np.polyfit(range(21), w, 1)[0], raw=True)
        / volume.rolling(20).mean(),
    }


def _obv(frame: pd.DataFrame) -> pd.Series:
    change = frame["close"].pct_change()
    return (np.sign(change.where(change.abs() > TIE, 0.0)) * frame["volume"]).cumsum()


def _regime(frame: pd.DataFrame) -> dict[str, pd.Series]:
    logs = np.log(frame["close"]).diff()
    trend = logs.rolling(60).mean() / logs.rolling(60).sem()
    ratio = np.sqrt((logs**2).rolling(20).mean() / (logs**2).rolling(60).mean())
    weights = pd.DataFrame({"up": np.exp(trend), "down": np.exp(-trend), "range": np.e, "volatile": ratio**4})
    weights = weights.div(weights.sum(axis=1, skipna=False), axis=0)
    return {f"regime_{name}": weights[name] for name in weights}


def _directional(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """Wilder's averages from the first bar on, without a seed: after a few hundred bars none is left of it."""
    up, down = frame["high"].diff(), -frame["low"].diff()
    least = TIE * frame["high"]
    before = frame["close"].shift()
    true_range = frame["high"].combine(before, max) - frame["low"].combine(before, min)
    rise = up.where((up > least) & (up - down > least), 0.0)
    fall = down.where((down > least) & (down - up > least), 0.0)
    extent = _wilder(true_range.fillna(0.0))
    plus, minus = _wilder(rise) / extent, _wilder(fall) / extent
    index = _wilder(((plus - minus).abs() / (plus + minus)).fillna(0.0))
    return {"adx_14": index, "plus_di_14": plus, "minus_di_14": minus}


def _wilder(series: pd.Series) -> pd.Series:
    return series.ewm(alpha=1 / 14, adjust=False).mean()


def _flow(frame: pd.DataFrame) -> dict[str, pd.Series]:
    typical = frame[["high", "low", "close"]].mean(axis=1)
    change = typical.pct_change()
    flow = typical * frame["volume"]
    rising, falling = flow.where(change > TIE, 0.0), flow.where(change < -TIE, 0.0)
    total = (rising + falling).rolling(14).sum()
    return {"mfi_14": (rising.rolling(14).sum() / total).where(change.rolling(14).count() == 14)}


def _calendar(bars: Bars) -> dict[str, pd.Series]:
    local = pd.DatetimeIndex(bars.time, tz="UTC").tz_convert(bars.spec.time_zone)
    day = bars.spec.timeframe != "1Day"
    turns = {
        "hour": (local.hour + local.minute / 60) / 24,
        "weekday": local.day_of_week / 7,
        "month": (local.month - 1) / 12,
    }
    values = {}
    for name, turn in turns.items():
        shown = day if name == "hour" else True
        values[f"{name}_sin"] = np.sin(2 * np.pi * turn) * shown
        values[f"{name}_cos"] = np.cos(2 * np.pi * turn) * shown
    return values
