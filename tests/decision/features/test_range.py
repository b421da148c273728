"""Values are finite and inside the declared range on any bars; prices and volumes may be in any unit."""

import dataclasses
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_ppo_flavor.decision.bar_check import MAX_PRICE, MAX_VOLUME, MIN_PRICE, PRICES
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features import FEATURES, compute_features, lookback_of
from tests import tiers
from tests.decision.features.markets import MARKETS, build, market, nasty_bars
from tests.strategies import bars as any_bars
from tests.strategies import rough_bars

ALL = tuple(FEATURES)
LOOKBACK = lookback_of(ALL)
LOW = np.array([feature.low for feature in FEATURES.values()], dtype=np.float32)
HIGH = np.array([feature.high for feature in FEATURES.values()], dtype=np.float32)
SCALE = np.array([feature.scale for feature in FEATURES.values()])
REGIME = [ALL.index(reference) for reference in ALL if reference.startswith("regime")]
FACTORS = (1.0, 10.0, 1e-6, 1e4)


def assert_inside(values: np.ndarray) -> None:
    """Every value is a number in its feature's range; regimes are shares of 1."""
    assert np.isfinite(values).all()
    assert (values >= LOW).all()
    assert (values <= HIGH).all()
    np.testing.assert_allclose(values[:, REGIME].sum(axis=1, dtype=np.float64), 1.0, atol=2.5e-7)


def scaled(bars: Bars, prices: float, volumes: float) -> Bars:
    """The same bars in other units."""
    columns = {name: getattr(bars, name) * prices for name in PRICES}
    return dataclasses.replace(bars, volume=bars.volume * volumes, **columns)


def assert_scale_free(bars: Bars) -> None:
    """Other units of price and volume change no value by more than a millionth of its scale."""
    values = compute_features(bars, ALL)
    for prices, volumes in product(FACTORS, FACTORS):
        moved = np.abs(compute_features(scaled(bars, prices, volumes), ALL) - values.astype(np.float64)) / SCALE
        worst = moved.max(axis=0)
        assert {ALL[i]: worst[i] for i in np.flatnonzero(worst > 1e-6)} == {}, f"prices × {prices}, volumes × {volumes}"


@pytest.mark.parametrize("name", MARKETS)
def test_real_and_generated_markets_stay_inside(name: str) -> None:
    assert_inside(compute_features(market(name), ALL))


@given(rough_bars(LOOKBACK + 100) | nasty_bars(LOOKBACK + 100))
@settings(max_examples=tiers.SLOW_EXAMPLES)
def test_rough_and_nasty_bars_stay_inside(bars: Bars) -> None:
    assert_inside(compute_features(bars, ALL))


@given(any_bars(min_size=LOOKBACK, max_size=LOOKBACK + 3))
@settings(max_examples=tiers.COSTLY_EXAMPLES)
def test_arbitrary_valid_bars_stay_inside(bars: Bars) -> None:
    assert_inside(compute_features(bars, ALL))


PRICE_ENDS = st.sampled_from([(MIN_PRICE,), (MAX_PRICE,), (MIN_PRICE, MAX_PRICE), (MIN_PRICE, 1.0, MAX_PRICE)])
VOLUME_ENDS = st.sampled_from([(5e-324,), (MAX_VOLUME,), (0.0, 5e-324, MAX_VOLUME)])


@given(st.integers(0, 2**32 - 1), PRICE_ENDS, VOLUME_ENDS)
@settings(max_examples=tiers.SLOW_EXAMPLES)
def test_the_least_and_greatest_prices_and_volumes_stay_inside(
    seed: int, prices: tuple[float, ...], volumes: tuple[float, ...]
) -> None:
    random, size = np.random.default_rng(seed), LOOKBACK + 20
    corners = random.choice(prices, (4, size))
    bars = build(
        corners[0],
        opened=corners[1],
        high=corners.max(axis=0),
        low=corners.min(axis=0),
        volume=random.choice(volumes, size),
    )
    assert_inside(compute_features(bars, ALL))


@pytest.mark.parametrize("name", MARKETS)
def test_real_and_generated_markets_have_no_unit(name: str) -> None:
    bars = market(name)
    assert_scale_free(bars[len(bars) - tiers.SERIES_BARS :] if len(bars) > tiers.SERIES_BARS else bars)


@given(rough_bars(LOOKBACK + 100) | nasty_bars(LOOKBACK + 100))
@settings(max_examples=tiers.SLOW_EXAMPLES)
def test_rough_and_nasty_bars_have_no_unit(bars: Bars) -> None:
    assert_scale_free(bars)
