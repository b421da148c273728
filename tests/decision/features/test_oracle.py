"""Every feature against an independent computation over the whole history: TA-Lib where it has it, else pandas."""

import numpy as np
import pytest
import talib

from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features import FEATURES, compute_features, lookback_of
from tests.decision.features.markets import MARKETS, has_whole_prices, market
from tests.decision.features.oracle import TIES, Values, naive_values, talib_values

NAMES = tuple(feature.name for feature in FEATURES.values())
# The naive recursive averages forget that they have no seed within these bars.
SETTLED = 400
# Bars of AAPL and MSFT that hold the moves which recursive averages keep longest: splits and the year 2000.
STORMY = 1000


def errors(bars: Bars, oracle: Values, first: int = 0) -> dict[str, float]:
    """{name: largest difference from the oracle / the feature's scale}, from bar `first` or the lookback on."""
    found = {}
    for name, expected in oracle.items():
        feature = FEATURES[f"{name}@1"]
        start = max(first, feature.lookback - 1)
        values = compute_features(bars, [feature.reference], start=start)[:, 0]
        clipped = np.clip(expected[start:], feature.low, feature.high)
        assert np.isfinite(clipped).mean() > 0.99, f"{name}: the oracle says nothing"
        found[name] = float(np.nanmax(np.abs(values - clipped)) / feature.scale)
    return found


def test_the_oracles_know_every_feature() -> None:
    assert {*talib_values(market("reverting")), *naive_values(market("reverting"))} == set(NAMES)


@pytest.mark.parametrize("name", MARKETS)
def test_talib_over_the_whole_history_agrees_to_a_millionth_of_the_scale(name: str) -> None:
    oracle = talib_values(market(name))
    if not has_whole_prices(name):
        oracle = {feature: values for feature, values in oracle.items() if feature not in TIES}
    found = errors(market(name), oracle)
    assert {feature: error for feature, error in found.items() if error > 1e-6} == {}


@pytest.mark.parametrize("name", MARKETS)
def test_pandas_over_the_whole_history_agrees_to_a_millionth_of_the_scale(name: str) -> None:
    found = errors(market(name), naive_values(market(name)), first=SETTLED)
    assert {feature: error for feature, error in found.items() if error > 1e-6} == {}


RECURSIVE = {
    "ema_distance_12": lambda b: b.close[-1:] / talib.EMA(b.close, 12)[-1:] - 1,
    "ema_distance_26": lambda b: b.close[-1:] / talib.EMA(b.close, 26)[-1:] - 1,
    "macd_12_26": lambda b: talib.MACD(b.close)[0][-1:] / b.close[-1:],
    "macd_signal_9": lambda b: talib.MACD(b.close)[1][-1:] / b.close[-1:],
    "macd_histogram": lambda b: talib.MACD(b.close)[2][-1:] / b.close[-1:],
    "adx_14": lambda b: talib.ADX(b.high, b.low, b.close, 14)[-1:] / 100,
    "plus_di_14": lambda b: talib.PLUS_DI(b.high, b.low, b.close, 14)[-1:] / 100,
    "minus_di_14": lambda b: talib.MINUS_DI(b.high, b.low, b.close, 14)[-1:] / 100,
    "rsi_7": lambda b: talib.RSI(b.close, 7)[-1:] / 100,
    "rsi_14": lambda b: talib.RSI(b.close, 14)[-1:] / 100,
    "atr_14": lambda b: talib.ATR(b.high, b.low, b.close, 14)[-1:] / b.close[-1:],
}


@pytest.mark.parametrize("name", RECURSIVE)
def test_a_recursive_feature_is_talibs_value_on_exactly_the_lookback(name: str) -> None:
    reference, bars = f"{name}@1", market("AAPL in cents")
    lookback = lookback_of([reference])
    for end in range(lookback, len(bars), 97):
        window = bars[end - lookback : end]
        value = compute_features(window, [reference])
        np.testing.assert_allclose(value[0], RECURSIVE[name](window), rtol=2e-7, atol=1e-9)


@pytest.mark.parametrize(
    "names",
    [[name] for name in RECURSIVE if not name.startswith(("macd", "plus", "minus"))]
    + [["macd_12_26", "macd_signal_9"], ["plus_di_14", "minus_di_14"]],
)
def test_a_recursive_feature_would_miss_talib_with_twenty_bars_less(names: list[str]) -> None:
    """The lookback is as small as it may be: users pay for it in bars before the first decision."""
    worst = 0.0
    for bars in (market("AAPL in cents"), market("MSFT in cents"), market("AAPL all")):
        oracle = talib_values(bars)
        for name in names:
            feature = FEATURES[f"{name}@1"]
            shorter = feature.lookback - 20
            ends = range(feature.lookback, STORMY)
            values = np.concatenate([RECURSIVE[name](bars[end - shorter : end]) for end in ends])
            expected = oracle[name][np.array(ends) - 1]
            worst = max(worst, float(np.max(np.abs(values - expected)) / feature.scale))
    assert worst > 1e-6
