"""Adjustment: against a naive row-by-row oracle, its laws, its refusals, and the demo's real bars."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.adjustment import SPLIT_RATIOS, Split, adjust, find_splits, split_ratio
from mlflow_ppo_flavor.decision.bar_check import NUMBERS, PRICES, find_faults
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.errors import BarsError
from tests.strategies import DAILY, raw_frames

RAW, SPLIT, ALL = (BarSpec("1Day", adjustment) for adjustment in ("raw", "split", "all"))
DRAWN = tuple[pd.DataFrame, dict[int, float]]


def frame_of(close: list[float], adj_close: list[float]) -> pd.DataFrame:
    """A raw daily frame of these closes, a tenth of wick each way, volume 1000."""
    days, price = pd.bdate_range("2024-03-07", periods=len(close)), np.array(close)
    prices = {"open": price, "high": price * 1.1, "low": price * 0.9, "close": price}
    return pd.DataFrame({"time": days, **prices, "volume": 1000, "adj_close": adj_close})


def oracle(raw: pd.DataFrame, splits: dict[int, float], adjustment: str) -> list[tuple[float, ...]]:
    """Adjusted open, high, low, close and volume of each row, row by row, with no array arithmetic."""
    rows = []
    for number, row in enumerate(raw.itertuples()):
        later = 1.0
        for at, ratio in splits.items():
            later *= ratio if at > number else 1.0
        factor = row.adj_close / row.close if adjustment == "all" else 1 / later
        opened, close = row.open * factor, row.adj_close if adjustment == "all" else row.close * factor
        high, low = max(row.high * factor, opened, close), min(row.low * factor, opened, close)
        rows.append((opened, high, low, close, row.volume * later))
    return rows


@given(raw_frames(), st.sampled_from([SPLIT, ALL]))
def test_adjusted_bars_are_those_of_the_oracle(drawn: DRAWN, spec: BarSpec) -> None:
    raw, splits = drawn
    adjusted = adjust(raw, symbol="X", spec=spec)
    found = np.column_stack([getattr(adjusted, name) for name in NUMBERS])
    np.testing.assert_allclose(found, oracle(raw, splits, spec.adjustment), rtol=1e-12)
    assert adjusted.spec == spec


@given(raw_frames())
def test_the_splits_found_are_the_splits_drawn(drawn: DRAWN) -> None:
    raw, splits = drawn
    bars = Bars.from_frame(raw, symbol="X", spec=RAW)
    found, unknown = find_splits(bars.columns, raw["adj_close"].to_numpy())
    assert {split.row: float(split.ratio) for split in found} == splits
    assert unknown == ()


@given(raw_frames(), st.sampled_from([RAW, SPLIT, ALL]))
def test_adjusted_bars_always_pass_the_checks(drawn: DRAWN, spec: BarSpec) -> None:
    raw, _ = drawn
    adjusted = adjust(raw, symbol="X", spec=spec)
    assert find_faults(adjusted.to_frame(), spec) == ()
    assert (adjusted.high >= np.maximum(adjusted.open, adjusted.close)).all()
    assert (adjusted.low <= np.minimum(adjusted.open, adjusted.close)).all()


@given(raw_frames(), st.sampled_from([2.0**-6, 0.5, 8.0, 1024.0]), st.sampled_from([SPLIT, ALL]))
def test_scaling_raw_prices_scales_adjusted_prices_to_the_bit(drawn: DRAWN, scale: float, spec: BarSpec) -> None:
    raw, _ = drawn
    scaled = raw.assign(**{name: raw[name] * scale for name in (*PRICES, "adj_close")})
    before, after = adjust(raw, symbol="X", spec=spec), adjust(scaled, symbol="X", spec=spec)
    for name in PRICES:
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name) * scale)
    np.testing.assert_array_equal(after.volume, before.volume)


@given(raw_frames(), st.floats(0.01, 100.0))
def test_the_anchor_of_adj_close_scales_prices_alone(drawn: DRAWN, scale: float) -> None:
    """A file adjusted on a later day (a later dividend, a later split) is the same but for the scale of its prices."""
    raw, _ = drawn
    later = raw.assign(adj_close=raw["adj_close"] * scale)
    before, after = adjust(raw, symbol="X", spec=ALL), adjust(later, symbol="X", spec=ALL)
    for name in PRICES:
        np.testing.assert_allclose(getattr(after, name), getattr(before, name) * scale, rtol=1e-12)
    np.testing.assert_array_equal(after.volume, before.volume)
    assert adjust(later, symbol="X", spec=SPLIT) == adjust(raw, symbol="X", spec=SPLIT)


@given(raw_frames())
def test_split_adjustment_keeps_money_traded_and_the_last_bar(drawn: DRAWN) -> None:
    raw, _ = drawn
    adjusted = adjust(raw, symbol="X", spec=SPLIT)
    money = raw["close"] * raw["volume"]
    np.testing.assert_allclose(adjusted.close * adjusted.volume, money, rtol=1e-12, atol=1e-290)
    assert adjusted.bar(-1) == Bars.from_frame(raw, symbol="X", spec=RAW).bar(-1)


@given(raw_frames())
def test_raw_changes_nothing_and_reads_no_adjusted_close(drawn: DRAWN) -> None:
    raw, _ = drawn
    unadjusted = raw.drop(columns="adj_close")
    assert adjust(unadjusted, symbol="X", spec=RAW) == Bars.from_frame(unadjusted, symbol="X", spec=RAW)


def test_without_splits_and_dividends_nothing_changes() -> None:
    raw = frame_of([100.0, 60.0, 61.0], [100.0, 60.0, 61.0])
    for spec in (SPLIT, ALL):
        assert adjust(raw, symbol="X", spec=spec).columns.close.tolist() == [100.0, 60.0, 61.0]
        assert adjust(raw, symbol="X", spec=spec).volume.tolist() == [1000.0] * 3


@pytest.mark.parametrize(
    ("close", "adj_close", "ratio"),
    [
        ([100.0, 50.0], [50.0, 50.0], Fraction(2)),
        ([99.0, 66.0], [65.99, 66.0], Fraction(3, 2)),
        ([99.0, 66.0], [66.01, 66.0], Fraction(3, 2)),
        ([100.0, 50.0], [49.5, 50.0], Fraction(2)),
        ([700.0, 101.0], [100.0, 101.0], Fraction(7)),
        ([500.0, 20.0], [20.0, 20.0], Fraction(25)),
        ([5.0, 50.0], [50.0, 50.0], Fraction(1, 10)),
        ([20.0, 30.0], [30.0, 30.0], Fraction(2, 3)),
    ],
)
def test_a_split_is_told_from_the_dividend_of_its_day(
    close: list[float], adj_close: list[float], ratio: Fraction
) -> None:
    raw = frame_of(close, adj_close)
    bars = Bars.from_frame(raw, symbol="X", spec=RAW)
    assert find_splits(bars.columns, raw["adj_close"].to_numpy()) == ((Split(1, "2024-03-08T05:00:00Z", ratio),), ())
    for spec in (SPLIT, ALL):
        adjusted = adjust(raw, symbol="X", spec=spec)
        assert adjusted.volume.tolist() == pytest.approx([1000 * ratio, 1000])
    assert adjusted.close.tolist() == adj_close


@pytest.mark.parametrize("dividend", [0.01, 0.1, 0.25, 0.32])
def test_a_dividend_changes_prices_and_no_volume(dividend: float) -> None:
    raw = frame_of([100.0, 98.0], [100.0 * (1 - dividend), 98.0])
    adjusted = adjust(raw, symbol="X", spec=ALL)
    assert adjusted.close.tolist() == [100.0 * (1 - dividend), 98.0]
    assert adjusted.volume.tolist() == [1000.0, 1000.0]
    assert adjust(raw, symbol="X", spec=SPLIT).close.tolist() == [100.0, 98.0]


@given(st.floats(0.001, 1000.0))
def test_a_split_ratio_is_near_or_none(step: float) -> None:
    ratio = split_ratio(step)
    apart = [abs(math.log(step / float(known))) for known in SPLIT_RATIOS]
    if ratio is None:
        assert min(apart) > math.log(1.05) - 1e-12
    else:
        assert abs(math.log(step / float(ratio))) < min(math.log(1.05), *apart) + 1e-12


@given(st.sampled_from([ratio for ratio in SPLIT_RATIOS if 0.1 <= ratio <= 10]), st.floats(1 / 1.04, 1.04))
def test_a_ratio_is_found_through_4_percent_of_blur(ratio: Fraction, blur: float) -> None:
    assert split_ratio(float(ratio) * blur) == ratio


@pytest.mark.parametrize(
    ("step", "ratio"), [(1.5, 1.5), (1.57, 1.5), (1.7, None), (2.09, 2), (2.2, None), (101, 100), (120, None)]
)
def test_the_reach_of_split_ratios(step: float, ratio: float | None) -> None:
    assert split_ratio(step) == ratio


def test_a_step_that_is_no_usual_ratio_is_refused_with_its_row() -> None:
    raw = frame_of([100.0, 100.0, 60.0], [100.0, 100.0, 100.0])
    expected = "expected a usual split ratio (3:2, 2:1, … 100:1 or reverse) within 5 %"
    for spec in (SPLIT, ALL):
        with pytest.raises(BarsError) as caught:
            adjust(raw, symbol="X", spec=spec)
        (fault,) = caught.value.faults
        assert (fault.row, fault.time) == (2, "2024-03-11T04:00:00Z")
        assert fault.reason == f"adj_close / close steps by 1.667, {expected}"
        assert str(caught.value).startswith(
            "X: 1 fault in 3 raw bars: row 2 (2024-03-11T04:00:00Z): adj_close / close steps"
        )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.nan, "adj_close is nan, expected a finite number"),
        (np.inf, "adj_close is inf, expected a finite number"),
        (0.0, "adj_close is 0, expected a price in [1e-12, 1e+15]"),
        (-4.0, "adj_close is -4, expected a price in [1e-12, 1e+15]"),
    ],
)
def test_a_wrong_adjusted_close_is_refused_beside_all_other_faults(value: float, reason: str) -> None:
    raw = frame_of([100.0, 101.0, 102.0], [100.0, value, 102.0])
    raw.loc[0, "volume"] = -1
    with pytest.raises(BarsError) as caught:
        adjust(raw, symbol="X", spec=ALL)
    volume = "volume is -1, expected a volume in [0, 1e+18]"
    assert [(fault.row, fault.reason) for fault in caught.value.faults] == [(0, volume), (1, reason)]


def test_a_missing_or_textual_adjusted_close_is_refused() -> None:
    raw = frame_of([100.0], [100.0])
    with pytest.raises(
        BarsError, match="column adj_close: missing, found time, open, high, low, close, volume: add or rename"
    ):
        adjust(raw.drop(columns="adj_close"), symbol="X", spec=ALL)
    with pytest.raises(BarsError, match="column adj_close: found str, expected float or integer numbers"):
        adjust(raw.assign(adj_close="100"), symbol="X", spec=SPLIT)


def test_what_adjustment_makes_unusable_is_refused_after_it() -> None:
    raw = frame_of([100.0, 101.0], [1e-11, 1.01e-11])
    raw["low"] = 1.0
    with pytest.raises(
        BarsError, match=r"X: 2 faults in 2 bars after adjustment 'all': row 0 .*: low is .*e-14, expected a price"
    ):
        adjust(raw, symbol="X", spec=ALL)


def test_raw_faults_are_told_before_any_adjustment() -> None:
    raw = frame_of([100.0, 101.0], [100.0, 101.0]).assign(high=[100.0, 90.0])
    with pytest.raises(BarsError, match=r"X: 1 fault in 2 raw bars: row 1 .*: high 90 is below max\(open, close\) 101"):
        adjust(raw, symbol="X", spec=DAILY)
