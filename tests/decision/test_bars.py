"""Bars: round trips, immutability, slices, appends, digests, and the golden digest."""

import copy
import dataclasses
import hashlib
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_check import NUMBERS
from mlflow_ppo_flavor.decision.bars import Bar, Bars, check_bar
from mlflow_ppo_flavor.errors import BarsError
from tests.strategies import DAILY, HOURLY, bar_frames, bar_specs, bars

SMALL = pd.DataFrame(
    {
        "time": ["2024-03-07", "2024-03-08", "2024-03-11"],
        "open": [170.0, 169.0, 172.94],
        "high": [171.5, 173.7, 174.38],
        "low": [168.0, 168.94, 172.05],
        "close": [169.0, 170.73, 172.75],
        "volume": [71765000, 76114600, 60139500],
    }
)


def small(**columns: object) -> Bars:
    """The small daily table, with columns replaced."""
    return Bars.from_frame(SMALL.assign(**columns), symbol="AAPL", spec=DAILY)


@given(st.data(), bar_specs)
def test_a_frame_round_trips(data: st.DataObject, spec: BarSpec) -> None:
    frame = data.draw(bar_frames(spec))
    read = Bars.from_frame(frame, symbol="X", spec=spec)
    again = Bars.from_frame(read.to_frame(), symbol="X", spec=spec)
    assert again == read
    assert hash(again) == hash(read)
    for name in NUMBERS:
        np.testing.assert_array_equal(getattr(read, name), frame[name].to_numpy())
    np.testing.assert_array_equal(read.time, frame["time"].dt.as_unit("ns").astype("int64").to_numpy())


@given(bars())
def test_columns_are_read_only_c_arrays_of_their_kind(table: Bars) -> None:
    assert table.time.dtype == np.int64
    for name in ("time", *NUMBERS):
        column = getattr(table, name)
        assert column.flags.c_contiguous
        assert name == "time" or column.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_nothing_is_shared_with_the_frame_or_with_arrays_that_can_be_written() -> None:
    frame = SMALL.copy()
    table = Bars.from_frame(frame, symbol="AAPL", spec=DAILY)
    frame.loc[0, "open"] = 1.0
    columns = {name: getattr(table, name).copy() for name in ("time", *NUMBERS)}
    built = Bars("AAPL", DAILY, **columns)
    columns["close"][1] = 2.0
    assert table.open[0] == 170.0
    assert built == table
    assert built.close[1] == 170.73


def test_bars_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        small().symbol = "MSFT"  # type: ignore[misc]


@given(bars(max_size=20), st.integers(-25, 25), st.integers(-25, 25))
def test_slicing_is_that_of_the_columns_and_copies_nothing(table: Bars, first: int, last: int) -> None:
    part = table[first:last]
    for name in ("time", *NUMBERS):
        np.testing.assert_array_equal(getattr(part, name), getattr(table, name)[first:last])
        if len(part):
            assert np.shares_memory(getattr(part, name), getattr(table, name))
    assert part.symbol == table.symbol
    assert part.spec == table.spec


@given(bars(max_size=20), st.data())
def test_a_slice_of_a_slice_is_one_slice(table: Bars, data: st.DataObject) -> None:
    a, b = sorted(data.draw(st.lists(st.integers(0, len(table)), min_size=2, max_size=2)))
    c, d = sorted(data.draw(st.lists(st.integers(0, b - a), min_size=2, max_size=2)))
    assert table[a:b][c:d] == table[a + c : a + d]
    assert table[:] == table


@given(bars(min_size=2, max_size=20), st.data())
def test_appending_bar_by_bar_gives_the_same_table(table: Bars, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(table) - 1))
    grown = table[:begin]
    for row in range(begin, len(table)):
        before = grown
        assert grown.check(table.bar(row)) == ()
        grown = grown.append(table.bar(row))
        assert len(before) == row
    assert grown == table
    assert grown.bar(-1) == table.bar(len(table) - 1)


@given(bars(min_size=2), st.data())
def test_a_bar_that_is_there_already_or_older_is_refused(table: Bars, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(table) - 1))
    (fault,) = table.check(table.bar(row))
    expected = "time repeats row" if row == len(table) - 1 else "time is before row"
    assert fault.reason.startswith(f"{expected} {len(table) - 1}")
    assert fault.row == len(table)
    with pytest.raises(BarsError, match=expected) as caught:
        table.append(table.bar(row))
    assert caught.value.faults == (fault,)


BAR = Bar(1_710_216_000_000_000_000, 10.0, 12.0, 9.0, 11.0, 100.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"high": 10.5}, "high 10.5 is below max(open, close) 11"),
        ({"low": 10.25}, "low 10.25 is above min(open, close) 10"),
        ({"close": float("nan")}, "close is nan, expected a finite number"),
        ({"open": float("inf")}, "open is inf, expected a finite number"),
        ({"volume": -1.0}, "volume is -1, expected a volume in [0, 1e+18]"),
        ({"volume": None}, "volume is None, expected a number"),
        ({"close": "11"}, "close is '11', expected a number"),
        ({"close": True}, "close is True, expected a number"),
        ({"time": True}, "time is True, expected integer nanoseconds since 1970 in UTC"),
        ({"time": 1.71e18}, "time is 1.71e+18, expected integer nanoseconds since 1970 in UTC"),
        ({"time": 2**63}, f"time is {2**63}, expected integer nanoseconds since 1970 in UTC"),
        ({"time": 2**63 - 1}, f"time is {2**63 - 1}, expected UTC nanoseconds of a year in [1900, 2261]"),
    ],
)
def test_each_fault_of_one_bar_is_told(change: dict[str, object], reason: str) -> None:
    bar = dataclasses.replace(BAR, **change)  # type: ignore[arg-type]
    assert [fault.reason for fault in check_bar(bar, DAILY)] == [reason]
    table = small()
    assert [(fault.row, fault.reason) for fault in table.check(bar)] == [(3, reason)]
    with pytest.raises(BarsError) as caught:
        table.append(bar)
    assert caught.value.faults == table.check(bar)
    assert str(caught.value).startswith("AAPL: 1 fault in 1 new bar: row 3 (")


def test_a_clean_bar_has_no_fault_and_the_first_bar_of_an_empty_table_is_checked_too() -> None:
    assert check_bar(BAR, DAILY) == ()
    empty = small()[:0]
    assert len(empty) == 0
    assert empty.append(BAR).bar(0) == BAR
    assert [fault.row for fault in empty.check(dataclasses.replace(BAR, low=0.0))] == [0]


def test_a_bar_must_fit_the_timeframe() -> None:
    hour = Bars.from_frame(
        SMALL.assign(time=pd.date_range("2024-03-08 14:00Z", periods=3, freq="h")), symbol="A", spec=HOURLY
    )
    bar = dataclasses.replace(BAR, time=int(hour.time[-1]) + 60_000_000_000)
    reason = "starts 60 s after row 2, expected 3600 s or more: is 1Hour the right timeframe?"
    assert [fault.reason for fault in hour.check(bar)] == [reason]


def test_numpy_numbers_of_a_feed_are_numbers() -> None:
    bar = Bar(np.int64(BAR.time), np.float32(10.0), np.int64(12), 9, 11, 100)  # type: ignore[arg-type]
    assert small().append(bar).bar(3) == BAR


@pytest.mark.parametrize("wrong", [slice(None, None, 2), slice(None, None, -1), 1])
def test_a_step_or_a_row_is_refused_as_a_slice(wrong: slice | int) -> None:
    with pytest.raises(BarsError, match=r"expected a slice without a step: use bars\.bar\(row\) for one bar"):
        small()[wrong]


def test_columns_of_unequal_length_are_refused() -> None:
    table = small()
    with pytest.raises(BarsError, match=r"AAPL: columns of shapes .*, expected one dimension and equal lengths"):
        Bars("AAPL", DAILY, table.time, table.open[1:], *table.columns[2:])
    with pytest.raises(BarsError, match="expected one dimension"):
        Bars("AAPL", DAILY, *(column.reshape(3, 1) for column in table.columns))


def test_columns_are_checked_as_frames_are() -> None:
    table = small()
    assert Bars.from_columns(table.columns, symbol="AAPL", spec=DAILY) == table
    with pytest.raises(BarsError, match=r"AAPL: 1 fault in 3 bars: row 1 \(2024-03-08T05:00:00Z\): high 1 is below"):
        Bars.from_columns(table.columns._replace(high=np.array([171.5, 1.0, 174.38])), symbol="AAPL", spec=DAILY)
    with pytest.raises(BarsError, match="found no bars, expected at least one"):
        Bars.from_columns(table[:0].columns, symbol="AAPL", spec=DAILY)


def test_the_golden_digest() -> None:
    """Stable over processes and machines: fixed here, and recomputed from the bytes as the docstring says."""
    table = small()
    header = {
        "bars": 3,
        "spec": {"adjustment": "all", "session": "regular", "time_zone": "America/New_York", "timeframe": "1Day"},
        "symbol": "AAPL",
    }
    times = np.array([1709787600, 1709874000, 1710129600], "<i8") * 10**9
    content = json.dumps(header, separators=(",", ":")).encode() + times.astype("<i8").tobytes()
    content += b"".join(SMALL[name].to_numpy().astype("<f8").tobytes() for name in NUMBERS)
    assert table.digest == hashlib.sha256(content).hexdigest()
    assert table.digest == "878c6fcc44aa5fcea7fc8df738e521f4d84f7ad3eb1cebee242903ede8dcef17"


@pytest.mark.parametrize("name", NUMBERS)
def test_the_digest_and_equality_depend_on_every_number(name: str) -> None:
    nudged = getattr(small(), name).copy()
    nudged[2] = np.nextafter(nudged[2], 173.0)
    other = dataclasses.replace(small(), **{name: nudged})
    assert other != small()
    assert other.digest != small().digest


def test_the_digest_depends_on_symbol_and_spec_and_not_on_the_sign_of_zero() -> None:
    table = small()
    assert dataclasses.replace(table, symbol="MSFT") != table
    for change in ({"adjustment": "raw"}, {"session": "extended"}, {"time_zone": "UTC"}, {"timeframe": "1Min"}):
        assert dataclasses.replace(table, spec=dataclasses.replace(DAILY, **change)) != table
    assert table != table.digest
    assert small(volume=[0.0, 0.0, 0.0]) == small(volume=[-0.0, -0.0, -0.0])


@given(bars())
def test_pickles_and_copies_are_equal_and_still_read_only(table: Bars) -> None:
    for other in (pickle.loads(pickle.dumps(table)), copy.deepcopy(table)):
        assert other == table
        assert not other.time.flags.writeable
        assert not other.volume.flags.writeable


def test_its_repr_tells_what_it_holds() -> None:
    assert repr(small()) == "Bars(AAPL, 3 × 1Day all, 2024-03-07T05:00:00Z to 2024-03-11T04:00:00Z)"
    assert repr(small()[:0]) == "Bars(AAPL, 0 × 1Day all)"
