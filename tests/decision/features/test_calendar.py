"""Calendar features: the exchange's zone, the bar's start; no hour on daily bars."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features import FEATURES, compute_features
from tests.decision.features.markets import build
from tests.decision.features.oracle import naive_values
from tests.strategies import DAILY
from tests.strategies import bars as any_bars

CALENDAR = tuple(f"{name}_{turn}@1" for name in ("hour", "weekday", "month") for turn in ("sin", "cos"))


def calendar_of(times: list[str], spec: BarSpec) -> np.ndarray:
    """float32[n, 6] of bars that start at these times."""
    return compute_features(build(np.full(len(times), 10.0), time=pd.DatetimeIndex(times), spec=spec), CALENDAR)


def test_the_calendar_is_the_last_family() -> None:
    assert tuple(FEATURES)[-6:] == CALENDAR


@given(any_bars())
def test_any_bars_of_any_zone_agree_with_pandas(bars: Bars) -> None:
    oracle = naive_values(bars)
    expected = np.column_stack([oracle[reference.partition("@")[0]] for reference in CALENDAR])
    np.testing.assert_allclose(compute_features(bars, CALENDAR), expected, atol=2e-7)


def test_naive_dates_offsets_and_clock_changes_give_the_same_day() -> None:
    """New York is 5 hours behind on Friday 2024-03-08 and 4 on Monday 2024-03-11."""
    in_utc = calendar_of(["2024-03-08T05:00Z", "2024-03-11T04:00Z"], DAILY)
    naive = calendar_of(["2024-03-08", "2024-03-11"], DAILY)
    np.testing.assert_array_equal(in_utc, naive)
    friday, monday, march = 2 * math.pi * 4 / 7, 0.0, 2 * math.pi * 2 / 12
    for row, day in zip(in_utc, (friday, monday), strict=True):
        expected = [0.0, 0.0, math.sin(day), math.cos(day), math.sin(march), math.cos(march)]
        np.testing.assert_array_equal(row, np.array(expected, dtype=np.float32))


@pytest.mark.parametrize(
    ("time", "hour"), [("2024-03-08T14:30Z", 9.5), ("2024-03-11T13:30Z", 9.5), ("2024-07-01T00:00Z", 20.0)]
)
def test_intraday_bars_tell_hour_and_minute_in_the_exchanges_zone(time: str, hour: float) -> None:
    values = calendar_of([time], BarSpec("1Min", "raw"))[0]
    turn = 2 * math.pi * hour / 24
    np.testing.assert_allclose(values[:2], [math.sin(turn), math.cos(turn)], atol=1e-7)


def test_the_day_is_the_exchanges_and_not_utcs() -> None:
    """2024-07-01T00:00Z, a Monday in July, is Sunday evening in June in New York."""
    new_york = calendar_of(["2024-07-01T00:00Z"], BarSpec("1Hour", "raw"))[0]
    utc = calendar_of(["2024-07-01T00:00Z"], BarSpec("1Hour", "raw", time_zone="UTC"))[0]
    np.testing.assert_allclose(new_york[2:4], [math.sin(2 * math.pi * 6 / 7), math.cos(2 * math.pi * 6 / 7)], atol=1e-7)
    np.testing.assert_allclose(utc[2:4], [0.0, 1.0], atol=1e-7)
    assert new_york[4] == pytest.approx(math.sin(2 * math.pi * 5 / 12))
    assert utc[4] == pytest.approx(math.sin(2 * math.pi * 6 / 12), abs=1e-7)
