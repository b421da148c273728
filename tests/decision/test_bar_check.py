"""Every fault of a frame is found, with its row, its time and a reason; nothing else is."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision import bar_check, market
from mlflow_ppo_flavor.decision.bar_check import NUMBERS, PRICES, BarFault, find_faults
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.errors import BarsError, SpecError
from tests.strategies import DAILY, HOURLY, bar_frames, bar_specs

CLEAN = pd.DataFrame(
    {
        "time": pd.bdate_range("2024-03-07", periods=4),
        "open": [10.0, 11.0, 12.0, 13.0],
        "high": [11.5, 12.5, 13.5, 14.5],
        "low": [9.5, 10.5, 11.5, 12.5],
        "close": [11.0, 12.0, 13.0, 14.0],
        "volume": [100, 0, 300, 400],
    }
)
T2 = "2024-03-11T04:00:00Z"


def with_value(name: str, row: int, value: float, frame: pd.DataFrame = CLEAN) -> pd.DataFrame:
    """The frame with one number replaced."""
    changed = frame.astype({name: np.float64})
    changed.loc[row, name] = value
    return changed


def faults(frame: pd.DataFrame, spec: BarSpec = DAILY) -> list[tuple[int | None, str]]:
    """Row and reason of each fault."""
    return [(fault.row, fault.reason) for fault in find_faults(frame, spec)]


@given(st.data(), bar_specs)
def test_valid_frames_have_no_fault(data: st.DataObject, spec: BarSpec) -> None:
    assert find_faults(data.draw(bar_frames(spec)), spec) == ()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("open", np.nan, "open is nan, expected a finite number"),
        ("high", np.inf, "high is inf, expected a finite number"),
        ("low", -np.inf, "low is -inf, expected a finite number"),
        ("close", np.nan, "close is nan, expected a finite number"),
        ("low", 0.0, "low is 0, expected a price in [1e-12, 1e+15]"),
        ("low", -0.5, "low is -0.5, expected a price in [1e-12, 1e+15]"),
        ("low", 1e-13, "low is 1e-13, expected a price in [1e-12, 1e+15]"),
        ("high", 1.5e15, "high is 1500000000000000, expected a price in [1e-12, 1e+15]"),
        ("high", 12.9, "high 12.9 is below max(open, close) 13"),
        ("low", 12.1, "low 12.1 is above min(open, close) 12"),
        ("volume", -1.0, "volume is -1, expected a volume in [0, 1e+18]"),
        ("volume", np.nan, "volume is nan, expected a finite number"),
        ("volume", np.inf, "volume is inf, expected a finite number"),
        ("volume", 2e18, "volume is 2e+18, expected a volume in [0, 1e+18]"),
    ],
)
def test_a_wrong_number_is_one_fault_of_its_row(name: str, value: float, reason: str) -> None:
    assert find_faults(with_value(name, 2, value), DAILY) == (BarFault(2, T2, reason),)


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pd.Series(["10", "11", "12", "13"]), "found str"),
        (pd.Series([10.0, 11.0, 12.0, 13.0], dtype=object), "found object"),
        (pd.Series([Decimal(10)] * 4), "found object"),
        (pd.Series([10.0, None, "12", 13.0], dtype=object), "found object"),
        (pd.Series([True, True, False, True]), "found bool"),
        (pd.Series([True, True, None, True], dtype="boolean"), "found boolean"),
        (pd.Series([1 + 1j] * 4), "found complex128"),
        (pd.Series(pd.bdate_range("2024-03-07", periods=4)), "found datetime64"),
        (pd.Series(["a", "b", "a", "b"], dtype="category"), "found category"),
    ],
)
@pytest.mark.parametrize("name", ["open", "volume"])
def test_a_column_that_holds_no_numbers_is_one_fault(name: str, column: pd.Series, reason: str) -> None:
    (fault,) = find_faults(CLEAN.assign(**{name: column}), DAILY)
    assert fault.row is None
    assert fault.message.startswith(f"column {name}: {reason}")
    assert fault.message.endswith("expected float or integer numbers: convert it with pandas.to_numeric")


@pytest.mark.parametrize("kind", ["float32", "int64", "uint16", "Int64", "Float64", "float64[pyarrow]"])
def test_any_kind_of_numbers_is_read(kind: str) -> None:
    whole = CLEAN.assign(open=10.0, high=20.0, low=5.0, close=11.0)
    converted = whole.astype(dict.fromkeys(NUMBERS, kind))
    assert Bars.from_frame(converted, symbol="X", spec=DAILY) == Bars.from_frame(whole, symbol="X", spec=DAILY)


def test_a_missing_value_of_a_nullable_column_is_a_fault_of_its_row() -> None:
    volume = pd.Series([100, None, 300, 400], dtype="Int64")
    assert faults(CLEAN.assign(volume=volume)) == [(1, "volume is nan, expected a finite number")]


@pytest.mark.parametrize("name", ["time", *NUMBERS])
def test_a_missing_column_is_one_fault(name: str) -> None:
    others = ", ".join(other for other in CLEAN.columns if other != name)
    assert faults(CLEAN.drop(columns=name)) == [(None, f"column {name}: missing, found {others}: add or rename it")]


def test_a_column_that_stands_twice_is_one_fault() -> None:
    twice = pd.concat([CLEAN, CLEAN[["close"]]], axis=1)
    assert faults(twice) == [(None, "column close: found 2 times, expected once")]


def test_an_empty_frame_is_one_fault() -> None:
    for empty in (CLEAN[:0], pd.DataFrame(), pd.DataFrame(columns=CLEAN.columns)):
        assert faults(empty) == [(None, "found no bars, expected at least one")]
    with pytest.raises(BarsError, match="AAPL: 1 fault in 0 bars: found no bars, expected at least one"):
        Bars.from_frame(CLEAN[:0], symbol="AAPL", spec=DAILY)


def test_rows_are_positions_whatever_the_index() -> None:
    frame = with_value("close", 3, np.nan).set_index(pd.Index([7, 7, 9, 1]))
    assert faults(frame) == [(3, "close is nan, expected a finite number")]
    assert Bars.from_frame(CLEAN[::-1][::-1], symbol="X", spec=DAILY) == Bars.from_frame(CLEAN, symbol="X", spec=DAILY)


def test_other_columns_are_ignored() -> None:
    frame = CLEAN.assign(trade_count=[1, 2, 3, 4], vwap=np.nan, symbol="X")
    assert Bars.from_frame(frame, symbol="X", spec=DAILY) == Bars.from_frame(CLEAN, symbol="X", spec=DAILY)


def test_all_faults_are_collected_in_the_order_of_rows_and_the_message_shows_the_first_three() -> None:
    frame = with_value("high", 3, 1.0, with_value("low", 0, -1.0, with_value("open", 1, np.nan)))
    frame = frame.assign(time=["2024-03-07", "2024-03-11", "2024-03-11", "2024-03-08"], volume="many")
    with pytest.raises(BarsError) as caught:
        Bars.from_frame(frame, symbol="AAPL", spec=DAILY)
    rows = [fault.row for fault in caught.value.faults]
    assert rows == [None, 0, 1, 2, 3, 3]
    assert str(caught.value) == (
        "AAPL: 6 faults in 4 bars: column volume: found str, expected float or integer numbers: convert it with "
        "pandas.to_numeric; row 0 (2024-03-07T05:00:00Z): low is -1, expected a price in [1e-12, 1e+15]; "
        "row 1 (2024-03-11T04:00:00Z): open is nan, expected a finite number; and 3 more (all are in .faults): "
        "repair or drop these rows at their source"
    )


MUTATIONS = {
    "nan": (np.nan, "expected a finite number"),
    "inf": (np.inf, "expected a finite number"),
    "zero": (0.0, "expected a price in"),
    "negative": (-1.0, "expected a"),
}


@given(st.data(), bar_specs)
def test_any_single_wrong_number_is_found_in_its_row_and_nowhere_else(data: st.DataObject, spec: BarSpec) -> None:
    frame = data.draw(bar_frames(spec))
    row = data.draw(st.integers(0, len(frame) - 1))
    name = data.draw(st.sampled_from(NUMBERS))
    kind = data.draw(st.sampled_from([kind for kind in MUTATIONS if name in PRICES or kind != "zero"]))
    value, reason = MUTATIONS[kind]
    found = find_faults(with_value(name, row, value, frame), spec)
    assert {fault.row for fault in found} == {row}
    assert any(fault.reason.startswith(f"{name} is ") and reason in fault.reason for fault in found)


@given(st.data(), st.sampled_from(["high", "low"]))
def test_a_high_or_low_that_lies_is_found_in_its_row(data: st.DataObject, name: str) -> None:
    frame = data.draw(bar_frames(DAILY))
    row = data.draw(st.integers(0, len(frame) - 1))
    ends = frame.loc[row, ["open", "close"]].astype(float)
    lie = ends.max() * 0.999 if name == "high" else ends.min() * 1.001
    ((found, reason),) = faults(with_value(name, row, lie, frame))
    assert found == row
    assert reason.startswith(f"{name} ")
    assert (" is below max(open, close) " if name == "high" else " is above min(open, close) ") in reason


@given(st.data(), bar_specs)
def test_a_repeated_or_swapped_row_is_found(data: st.DataObject, spec: BarSpec) -> None:
    frame = data.draw(bar_frames(spec, min_size=2))
    row = data.draw(st.integers(1, len(frame) - 1))
    repeated = pd.concat([frame[: row + 1], frame[row:]], ignore_index=True)
    assert faults(repeated, spec) == [(row + 1, f"time repeats row {row}, expected each time once")]
    order = list(range(len(frame)))
    order[row - 1], order[row] = row, row - 1
    found = faults(frame.iloc[order], spec)
    before = frame["time"].iloc[row].isoformat().replace("+00:00", "Z")
    assert (row, f"time is before row {row - 1}'s {before}, expected ascending times") in found


def test_a_time_that_returns_later_repeats_its_first_row() -> None:
    frame = CLEAN.assign(time=["2024-03-07", "2024-03-08", "2024-03-07", "2024-03-12"])
    assert faults(frame) == [(2, "time repeats row 0, expected each time once")]


def test_order_is_checked_across_a_row_without_time() -> None:
    frame = CLEAN.assign(time=["2024-03-07", "2024-03-12", None, "2024-03-11"])
    assert faults(frame) == [
        (2, "time is missing"),
        (3, "time is before row 1's 2024-03-12T04:00:00Z, expected ascending times"),
    ]


def test_bars_closer_than_their_timeframe_are_refused() -> None:
    times = pd.to_datetime(["2024-03-08 14:30Z", "2024-03-08 15:30Z", "2024-03-08 15:45Z", "2024-03-08 20:00Z"])
    reason = "starts 900 s after row 1, expected 3600 s or more: is 1Hour the right timeframe?"
    assert faults(CLEAN.assign(time=times), HOURLY) == [(2, reason)]
    assert faults(CLEAN.assign(time=times), BarSpec("1Min", "raw")) == []


def test_an_unknown_time_zone_is_the_specs_fault() -> None:
    message = r"bars\.time_zone: found 'Mars/Olympus', expected a zone that the time zone database knows"
    with pytest.raises(SpecError, match=message):
        find_faults(CLEAN, BarSpec("1Day", "all", time_zone="Mars/Olympus"))


def test_the_bounds_of_prices_are_those_of_fills() -> None:
    assert (bar_check.MIN_PRICE, bar_check.MAX_PRICE) == (market.MIN_PRICE, market.MAX_PRICE)
