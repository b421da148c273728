"""Times: every way to write a bar's start gives one instant and one local calendar, or a reason."""

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_check import find_faults
from mlflow_ppo_flavor.decision.bars import Bars
from tests.strategies import DAILY, HOURLY, ZONES, bars

MINUTES = BarSpec("1Min", "raw")


def table(times: object, spec: BarSpec = DAILY) -> Bars:
    """Bars at these times."""
    frame = pd.DataFrame({"time": times})
    return Bars.from_frame(frame.assign(open=1.0, high=1.0, low=1.0, close=1.0, volume=0), symbol="X", spec=spec)


def reasons(times: object, spec: BarSpec = DAILY) -> list[tuple[int | None, str]]:
    """Row and reason of each fault of bars at these times."""
    frame = pd.DataFrame({"time": times})
    frame = frame.assign(open=1.0, high=1.0, low=1.0, close=1.0, volume=0)
    return [(fault.row, fault.reason) for fault in find_faults(frame, spec)]


# The clocks of New York go forward on Sunday 2024-03-10.
SPELLINGS = {
    "naive dates": ["2024-03-08", "2024-03-11"],
    "naive dates as Python strings": pd.Series(["2024-03-08", "2024-03-11"], dtype=object),
    "naive midnights": ["2024-03-08 00:00:00", "2024-03-11T00:00"],
    "UTC text": ["2024-03-08T05:00Z", "2024-03-11T04:00:00Z"],
    "nanosecond text, as a feed sends it": ["2024-03-08T05:00:00.000000000Z", "2024-03-11T04:00:00.000000000Z"],
    "local offsets": ["2024-03-08T00:00:00-05:00", "2024-03-11T00:00:00-0400"],
    "mixed": ["2024-03-08", "2024-03-11T06:00:00+02:00"],
    "naive datetime64": pd.to_datetime(["2024-03-08", "2024-03-11"]),
    "naive datetime64[s]": pd.DatetimeIndex(["2024-03-08", "2024-03-11"]).as_unit("s"),
    "UTC datetime64": pd.to_datetime(["2024-03-08T05:00Z", "2024-03-11T04:00Z"]),
    "New York datetime64": pd.DatetimeIndex(["2024-03-08", "2024-03-11"]).tz_localize("America/New_York"),
    "Tokyo datetime64": pd.to_datetime(["2024-03-08T05:00Z", "2024-03-11T04:00Z"]).tz_convert("Asia/Tokyo"),
}


@pytest.mark.parametrize("times", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_across_the_change_of_clocks_gives_the_same_days(times: object) -> None:
    read = table(times)
    assert read.time.tolist() == [1709874000 * 10**9, 1710129600 * 10**9]
    local = read.local
    assert local.year.tolist() == [2024, 2024]
    assert local.month.tolist() == [3, 3]
    assert local.day.tolist() == [8, 11]
    assert local.weekday.tolist() == [4, 0]
    assert local.hour.tolist() == [0, 0]
    assert read == table(SPELLINGS["naive dates"])


def test_the_autumn_change_of_clocks_too() -> None:
    read = table(["2024-11-01", "2024-11-04"])
    assert read == table(["2024-11-01T04:00Z", "2024-11-04T05:00Z"])
    assert read.local.hour.tolist() == [0, 0]
    assert read.local.weekday.tolist() == [4, 0]


def test_intraday_hours_are_local_across_the_change_of_clocks() -> None:
    read = table(["2024-03-08T14:30Z", "2024-03-11T13:30Z", "2024-11-01T13:30Z", "2024-11-04T14:30Z"], HOURLY)
    assert read.local.hour.tolist() == [9, 9, 9, 9]
    assert read.local.day.tolist() == [8, 11, 1, 4]


@pytest.mark.parametrize(("zone", "day"), [("America/Santiago", "2024-09-08"), ("Asia/Beirut", "2024-03-31")])
def test_a_day_without_midnight_starts_at_its_first_instant(zone: str, day: str) -> None:
    spec = BarSpec("1Day", "raw", time_zone=zone)
    read = table([day], spec)
    assert read.local.hour.tolist() == [1]
    assert read.local.day.tolist() == [int(day[-2:])]
    assert table(read.to_frame()["time"], spec) == read


@pytest.mark.parametrize("zone", ["America/Havana", "America/Santiago"])
def test_of_two_midnights_the_first_starts_the_day(zone: str) -> None:
    day = {"America/Havana": dt.date(2024, 11, 3), "America/Santiago": dt.date(2024, 4, 7)}[zone]
    spec = BarSpec("1Day", "raw", time_zone=zone)
    midnight = dt.datetime.combine(day, dt.time(), ZoneInfo(zone))
    read = table([str(day)], spec)
    assert read.time.tolist() == [int(midnight.timestamp()) * 10**9]
    assert table(read.to_frame()["time"], spec) == read


@given(bars())
def test_local_fields_are_those_of_the_standard_library(read: Bars) -> None:
    zone = ZoneInfo(read.spec.time_zone)
    local = [dt.datetime.fromtimestamp(second, zone) for second in (read.time // 10**9).tolist()]
    fields = [(t.year, t.month, t.day, t.weekday(), t.hour) for t in local]
    calendar = read.local
    assert fields == list(
        zip(*(getattr(calendar, name).tolist() for name in ("year", "month", "day", "weekday", "hour")), strict=True)
    )
    assert calendar.year.dtype == np.int64


@given(st.lists(st.dates(dt.date(1971, 1, 1), dt.date(2060, 1, 1)), min_size=1, unique=True), st.sampled_from(ZONES))
def test_naive_dates_keep_their_date_in_every_zone(days: list[dt.date], zone: str) -> None:
    days.sort()
    spec = BarSpec("1Day", "raw", time_zone=zone)
    read = table([str(day) for day in days], spec)
    calendar = read.local
    found = zip(calendar.year.tolist(), calendar.month.tolist(), calendar.day.tolist(), strict=True)
    assert [dt.date(*fields) for fields in found] == days
    assert read == table(pd.to_datetime(days), spec)
    assert read == table(read.to_frame()["time"].dt.tz_convert("Asia/Tokyo"), spec)


@pytest.mark.parametrize(
    ("time", "local", "midnight"),
    [
        ("2024-03-08T00:00Z", "2024-03-07T19:00:00", "2024-03-07T05:00:00Z"),
        ("2024-03-11T05:00Z", "2024-03-11T01:00:00", "2024-03-11T04:00:00Z"),
        ("2024-03-08T14:30Z", "2024-03-08T09:30:00", "2024-03-08T05:00:00Z"),
    ],
)
def test_a_daily_bar_that_starts_at_another_hour_is_refused(time: str, local: str, midnight: str) -> None:
    expected = f"expected a local midnight such as {midnight} or a naive date"
    assert reasons([time]) == [(0, f"daily bar starts at {local} in America/New_York, {expected}")]


def test_a_daily_bar_at_the_midnight_of_its_own_zone_is_accepted() -> None:
    assert reasons(["2024-03-08T00:00Z"], BarSpec("1Day", "raw", session="continuous", time_zone="UTC")) == []


@pytest.mark.parametrize("times", [["2024-03-08 09:30"], pd.to_datetime(["2024-03-08 09:30"])])
@pytest.mark.parametrize("spec", [HOURLY, MINUTES])
def test_naive_intraday_times_are_refused(times: object, spec: BarSpec) -> None:
    ((row, reason),) = reasons(times, spec)
    assert row == 0
    assert reason == (
        f"time 2024-03-08 09:30:00 has no time zone, expected an offset for {spec.timeframe} bars "
        "(UTC or local is a guess): localise it with pandas' tz_localize"
    )


def test_a_naive_daily_time_that_is_no_midnight_is_refused() -> None:
    assert reasons(["2024-03-07", "2024-03-08 05:00"]) == [
        (
            1,
            "time 2024-03-08 05:00:00 has no time zone, expected 00:00 or an offset: "
            "localise it with pandas' tz_localize",
        )
    ]


@pytest.mark.parametrize(
    "text", ["today", "now", "NaT", "", "08/03/2024", "2024-3-8", "20240308", "1709874000", "2024-13-01"]
)
def test_text_that_is_no_iso_8601_is_refused_and_never_guessed(text: str) -> None:
    assert reasons(["2024-03-07", text]) == [(1, f"time {text!r} can't be read, expected ISO 8601 text")]


@pytest.mark.parametrize(
    "times",
    [
        ["2024-03-07", None],
        pd.Series(["2024-03-07", np.nan], dtype=object),
        pd.to_datetime(["2024-03-07", pd.NaT]),
        pd.to_datetime(["2024-03-07T05:00Z", pd.NaT], utc=True),
    ],
)
def test_a_missing_time_is_refused(times: object) -> None:
    assert reasons(times) == [(1, "time is missing")]


@pytest.mark.parametrize(
    ("times", "found"),
    [
        ([1709874000, 1709960400], "int64"),
        ([1709874000.0, 1709960400.0], "float64"),
        ([True, False], "bool"),
        ([dt.date(2024, 3, 8), dt.date(2024, 3, 11)], "object"),
        ([None, None], "object"),
        (pd.to_timedelta([1, 2], unit="D"), "timedelta64"),
        (pd.PeriodIndex(["2024-03-08", "2024-03-11"], freq="D"), "period[D]"),
    ],
)
def test_a_column_of_no_times_is_one_fault(times: object, found: str) -> None:
    ((row, reason),) = reasons(times)
    assert row is None
    assert reason.startswith(f"column time: found {found}")
    assert reason.endswith("expected datetime64 or ISO 8601 text: convert it with pandas.to_datetime")


@pytest.mark.parametrize("text", ["1899-12-31", "2262-01-01", "9999-12-31"])
def test_a_year_out_of_range_is_refused(text: str) -> None:
    expected = [(1, f"time {text} 00:00:00 is out of range, expected a year in [1900, 2261]")]
    assert reasons(["2024-03-07", text]) == expected
    assert reasons(pd.DatetimeIndex(["2024-03-07", text]).as_unit("s")) == expected


def test_the_first_and_last_accepted_days_read_back() -> None:
    read = table(["1900-01-01", "2261-12-31"], BarSpec("1Day", "raw", time_zone="UTC"))
    assert read.local.year.tolist() == [1900, 2261]
    assert table(read.to_frame()["time"], read.spec) == read
