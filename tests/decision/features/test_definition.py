"""A value is computed from exactly its lookback bars: the same bits whatever comes before, wherever a call starts."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_ppo_flavor.decision.bar_check import NUMBERS
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features import FEATURES, Feature, compute_features, lookback_of
from mlflow_ppo_flavor.decision.features.kernel import KERNEL
from mlflow_ppo_flavor.errors import BarsError, SpecError
from tests import tiers
from tests.decision.features.markets import market, nasty_bars, random_walk
from tests.strategies import rough_bars

ALL = tuple(FEATURES)
LOOKBACK = lookback_of(ALL)
EACH = pytest.mark.parametrize("feature", FEATURES.values(), ids=lambda feature: feature.name)


def bits(values: np.ndarray) -> np.ndarray:
    """The bits of float32 values: unlike numbers, they tell -0 from 0."""
    return values.view(np.uint32)


@given(rough_bars(LOOKBACK + 60) | nasty_bars(LOOKBACK + 60), st.data())
@settings(max_examples=tiers.SLOW_EXAMPLES)
def test_any_start_and_any_number_of_earlier_bars_give_the_same_bits(bars: Bars, data: st.DataObject) -> None:
    whole = compute_features(bars, ALL)
    start = data.draw(st.integers(LOOKBACK - 1, len(bars) - 1))
    cut = data.draw(st.integers(0, start - LOOKBACK + 1))
    end = data.draw(st.integers(start + 1, len(bars)))
    part = compute_features(bars[cut:end], ALL, start=start - cut)
    np.testing.assert_array_equal(bits(part), bits(whole[start - LOOKBACK + 1 : end - LOOKBACK + 1]))


@given(rough_bars(LOOKBACK + 20) | nasty_bars(LOOKBACK + 20))
@settings(max_examples=tiers.SLOW_EXAMPLES)
def test_one_bar_calls_give_the_bits_of_the_vectorised_call(bars: Bars) -> None:
    whole = compute_features(bars, ALL)
    ends = range(LOOKBACK, len(bars) + 1)
    rows = [compute_features(bars[end - LOOKBACK : end], ALL) for end in ends]
    np.testing.assert_array_equal(bits(np.concatenate(rows)), bits(whole))


@given(nasty_bars(LOOKBACK + 5), st.lists(st.sampled_from(ALL), min_size=1, max_size=8))
@settings(max_examples=tiers.SLOW_EXAMPLES)
def test_features_asked_for_alone_have_the_same_bits_as_among_all(bars: Bars, chosen: list[str]) -> None:
    whole = compute_features(bars, ALL, start=LOOKBACK - 1)
    part = compute_features(bars, chosen, start=LOOKBACK - 1)
    np.testing.assert_array_equal(bits(part), bits(whole[:, [ALL.index(reference) for reference in chosen]]))


@EACH
def test_exactly_the_lookback_is_enough(feature: Feature) -> None:
    bars = market("AAPL all")
    whole = compute_features(bars, [feature.reference])
    for end in range(feature.lookback, len(bars), 401):
        window = compute_features(bars[end - feature.lookback : end], [feature.reference])
        np.testing.assert_array_equal(bits(window[0]), bits(whole[end - feature.lookback]))


@EACH
def test_the_oldest_bar_of_the_lookback_counts(feature: Feature) -> None:
    bars = random_walk(feature.lookback, seed=3)
    before = compute_features(bars, [feature.reference])
    assert any(
        before != compute_features(replaced(bars, 0, factor), [feature.reference]) for factor in (1e3, 1e-3)
    ) or (feature.name.startswith(("hour", "weekday", "month")))


def replaced(bars: Bars, row: int, factor: float) -> Bars:
    """Bars whose one row is multiplied by a factor, closes at its high and has a deeper low."""
    columns = {name: getattr(bars, name).copy() for name in NUMBERS}
    for name in NUMBERS:
        columns[name][row] *= factor
    columns["close"][row] = columns["high"][row]
    columns["low"][row] /= 2
    return dataclasses.replace(bars, **columns)


def test_a_value_is_rounded_once_to_float32() -> None:
    bars = random_walk(400, seed=5)
    values = compute_features(bars, ["return_1@1", "range_pct@1"])
    close, extent = bars.close, bars.high - bars.low
    returns = np.array([math.log(close[i] / close[i - 1]) for i in range(1, 400)])
    np.testing.assert_array_equal(values[:, 0], returns.astype(np.float32))
    np.testing.assert_array_equal(values[:, 1], (extent / close)[1:].astype(np.float32))


def test_the_matrix_is_c_contiguous_float32_with_a_row_a_bar() -> None:
    bars = random_walk(300)
    values = compute_features(bars, ALL)
    assert values.shape == (300 - LOOKBACK + 1, 53)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    assert compute_features(bars, ALL, start=299).shape == (1, 53)
    assert compute_features(bars, ALL, start=np.int64(299)).shape == (1, 53)
    assert compute_features(bars, []).shape == (300, 0)


def test_repeated_features_are_repeated_columns() -> None:
    values = compute_features(random_walk(40), ["roc_12@1", "body@1", "roc_12@1"])
    np.testing.assert_array_equal(values[:, 0], values[:, 2])


def test_every_call_runs_the_same_machine_code() -> None:
    frame_bars, sliced = random_walk(300), random_walk(400)[50:350]
    for bars in (frame_bars, sliced, dataclasses.replace(sliced, close=sliced.close.copy())):
        compute_features(bars, ALL)
        compute_features(bars, list(ALL[:3]), start=len(bars) - 1)
    assert len(KERNEL.signatures) == 1


@pytest.mark.parametrize(
    ("size", "start", "message"),
    [
        (199, None, "TEST: 1 features look back 200 bars: found 199 bars, expected at least 200: load 1 earlier ones"),
        (1, 0, "TEST: 1 features look back 200 bars: found 1 bars, expected at least 200: load 199 earlier ones"),
        (250, 198, "TEST: 1 features look back 200 bars: found start 198, expected a bar in [199, 249]"),
        (250, -1, "TEST: 1 features look back 200 bars: found start -1, expected a bar in [199, 249]"),
        (250, 250, "TEST: 1 features look back 200 bars: found start 250, expected a bar in [199, 249]"),
    ],
)
def test_too_few_bars_or_a_start_outside_are_refused(size: int, start: int | None, message: str) -> None:
    with pytest.raises(BarsError) as refused:
        compute_features(random_walk(size), ["sma_distance_200@1"], start=start)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("rsi_14@2", "rsi_14@1"),
        ("rsi_14", "one of the 53 market features that this version computes"),
        ("total_pnl@1", "one of the 53 market features that this version computes"),
    ],
)
def test_an_unknown_feature_is_refused(reference: str, expected: str) -> None:
    with pytest.raises(SpecError) as refused:
        lookback_of(["body@1", reference])
    assert str(refused.value) == f"features[1]: found {reference}, expected {expected}"
