"""Where a denominator vanishes, a feature has its declared value; elsewhere near it, the value of its formula."""

import math

import numpy as np
import pytest

from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features import FEATURES, compute_features, lookback_of
from tests.decision.features.markets import build, random_walk
from tests.decision.features.oracle import naive_values, talib_values

CALENDAR = ("hour", "weekday", "month")
MARKET = tuple(reference for reference, feature in FEATURES.items() if not feature.name.startswith(CALENDAR))
DECLARED = np.array([FEATURES[reference].degenerate for reference in MARKET], dtype=np.float32)
LOOKBACK = lookback_of(MARKET)
ONE_PRICE = [1e-5, 0.1, 123.45, 7e8]


def last_values(bars: Bars) -> dict[str, float]:
    """{name: value} of the last bar."""
    row = compute_features(bars, MARKET, start=len(bars) - 1)[0]
    return {FEATURES[reference].name: float(value) for reference, value in zip(MARKET, row, strict=True)}


def assert_declared(values: np.ndarray) -> None:
    np.testing.assert_array_equal(values, np.broadcast_to(DECLARED, values.shape))


@pytest.mark.parametrize("price", ONE_PRICE)
def test_flat_bars_have_exactly_the_declared_values(price: float) -> None:
    assert_declared(compute_features(build(np.full(LOOKBACK + 5, price)), MARKET))


@pytest.mark.parametrize("price", ONE_PRICE)
def test_flat_bars_without_volume_have_exactly_the_declared_values(price: float) -> None:
    bars = build(np.full(LOOKBACK + 5, price), volume=np.zeros(LOOKBACK + 5))
    assert_declared(compute_features(bars, MARKET))


def test_moves_below_a_billionth_of_the_price_count_as_none_in_a_denominator() -> None:
    size = LOOKBACK + 5
    values = last_values(build(100.0 + 2e-9 * (np.arange(size) % 2) * np.ones(size)))
    smooth = {"return", "range", "gap", "sma", "ema", "macd", "roc", "atr", "realised", "parkinson", "vwap"}
    for name, value in values.items():
        feature = FEATURES[f"{name}@1"]
        tolerance = 1e-9 if name.split("_")[0] in smooth or name == "bollinger_width_20" else 0.0
        assert value == pytest.approx(float(np.float32(feature.degenerate)), abs=tolerance), name


@pytest.mark.parametrize("tick", [1e-7, 1e-4])
@pytest.mark.parametrize("price", [1.0, 1e5])
def test_one_tick_moves_have_the_values_of_the_formulas(price: float, tick: float) -> None:
    size = LOOKBACK + 400
    ticks = np.cumsum(np.random.default_rng(0).integers(-1, 2, size))
    bars = build(
        price * (1.0 + tick * ticks),
        high=price * (1.0 + tick * (ticks + 1)),
        low=price * (1.0 + tick * (ticks - 1)),
        volume=1000.0 + 100.0 * (np.arange(size) % 7),
    )
    oracle = naive_values(bars)
    start = len(bars) - 20
    for name in (
        "adx_14",
        "plus_di_14",
        "mfi_14",
        "upper_shadow",
        "close_location",
        "regime_up",
        "regime_range",
        "obv_slope_20",
    ):
        values = compute_features(bars, [f"{name}@1"], start=start)[:, 0]
        np.testing.assert_allclose(values, oracle[name][start:], atol=1e-6, err_msg=name)
    oracle = talib_values(build(1e4 + ticks, high=1e4 + ticks + 1, low=1e4 + ticks - 1))
    for name in ("rsi_14", "stochastic_k_14", "cci_20", "williams_r_14", "bollinger_position_20"):
        feature = FEATURES[f"{name}@1"]
        values = compute_features(bars, [feature.reference], start=start)[:, 0]
        np.testing.assert_allclose(values, oracle[name][start:], atol=1e-6 * feature.scale, err_msg=name)


def test_without_volume_only_the_features_of_volume_are_neutral() -> None:
    bars = random_walk(LOOKBACK + 50, seed=2)
    traded = compute_features(bars, MARKET)
    silent = compute_features(
        build(bars.close, opened=bars.open, high=bars.high, low=bars.low, volume=np.zeros(len(bars))), MARKET
    )
    of_volume = [MARKET.index(f"{name}@1") for name in ("mfi_14", "volume_z_20", "obv_slope_20", "vwap_distance_20")]
    np.testing.assert_array_equal(np.delete(silent, of_volume, axis=1), np.delete(traded, of_volume, axis=1))
    np.testing.assert_array_equal(silent[:, of_volume], np.broadcast_to(DECLARED[of_volume], (len(silent), 4)))


def test_after_a_thousandfold_spike_each_feature_is_neutral_when_its_lookback_is_flat() -> None:
    close = np.full(2 * LOOKBACK + 10, 50.0)
    spike = LOOKBACK
    close[spike] = 50_000.0
    values = compute_features(build(close), MARKET, start=spike)
    for column, reference in enumerate(MARKET):
        after = FEATURES[reference].lookback
        np.testing.assert_array_equal(values[after:, column], DECLARED[column], err_msg=reference)


def test_on_a_thousandfold_spike_values_are_those_of_the_formulas() -> None:
    close = np.full(LOOKBACK + 10, 50.0)
    close[-1] = 50_000.0
    values = last_values(build(close))
    assert values["return_1"] == 1.0
    assert values["return_60"] == 2.0
    assert values["rsi_14"] == 1.0
    assert values["stochastic_k_14"] == pytest.approx((0.5 + 0.5 + 1.0) / 3)
    assert values["stochastic_d_14"] == pytest.approx((8 * 0.5 + 1.0) / 9)
    assert values["bollinger_position_20"] == pytest.approx(0.5 + math.sqrt(19) / 4)
    assert values["cci_20"] == pytest.approx(20 / 3)
    assert values["macd_12_26"] == pytest.approx(2 / 13 - 2 / 27, rel=2e-3)
    assert values["regime_volatile"] == pytest.approx(9 / (9 + 2 * math.e + 1 / math.e), rel=1e-5)


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_a_tenfold_gap_is_clipped_and_over_when_it_left_the_lookback(factor: float) -> None:
    size = LOOKBACK + 40
    gap = size - 25
    before = random_walk(size, seed=4)
    scale = np.where(np.arange(size) >= gap, factor, 1.0)
    after = build(
        before.close * scale,
        opened=before.open * scale,
        high=before.high * scale,
        low=before.low * scale,
        volume=before.volume,
    )
    values = compute_features(after, MARKET, start=gap)
    limit = math.copysign(1.0, factor - 1)
    assert values[0, MARKET.index("gap_1@1")] == limit
    assert values[0, MARKET.index("return_1@1")] == limit
    unmoved = [i for i, reference in enumerate(MARKET) if FEATURES[reference].lookback <= 24]
    expected = compute_features(before, MARKET, start=gap)
    np.testing.assert_allclose(values[24:, unmoved], expected[24:, unmoved], rtol=1e-5, atol=1e-6)


def test_steady_growth_counts_as_no_trend_statistic() -> None:
    """Equal returns have no deviation to divide by."""
    values = last_values(build(100.0 * 1.001 ** np.arange(LOOKBACK)))
    assert values["regime_range"] == pytest.approx(math.e / (3 + math.e))
    assert values["rsi_14"] == 1.0


def test_a_standstill_after_movement_is_not_volatile() -> None:
    close = random_walk(LOOKBACK, seed=6).close.copy()
    close[-21:] = close[-21]
    values = last_values(build(close))
    assert values["regime_volatile"] == 0.0
    assert values["realised_volatility_20"] == 0.0
