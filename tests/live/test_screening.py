"""Which bars are let through: each rule by itself, and the law that it never matters when one looked, or since when."""

import math
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live.screening import MAX_LOG_MOVE, RefusedBar, Screened, SessionTable, screen
from live.venue import Session
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_time import MISSING
from mlflow_ppo_flavor.decision.bars import Bar
from tests import tiers
from tests.live.exchange.venues import instant
from training.series import demo_bars

DAILY, HOURLY, MINUTES = (BarSpec(timeframe, "all") for timeframe in ("1Day", "1Hour", "1Min"))
NEW_YORK = ZoneInfo("America/New_York")
DAYS = [
    date(2012, 10, 29) + timedelta(days=n) for n in (0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 14, 15, 16, 17, 18, 21, 22, 24, 25)
]
"""Nineteen trading days, over a change of clocks (on Sunday 2012-11-04); Thursday the 22nd is Thanksgiving."""
HOUR = 3_600_000_000_000


def at(day: date, clock: time = time()) -> int:
    """UTC nanoseconds of a local time in New York."""
    return int(datetime.combine(day, clock, NEW_YORK).timestamp()) * 10**9


def session(day: date) -> Session:
    """Half past nine to four; to one on the day after Thanksgiving."""
    return Session(day, at(day, time(9, 30)), at(day, time(13 if day == date(2012, 11, 23) else 16)))


TRADED = [date(2012, 11, 21), date(2012, 11, 23), date(2012, 11, 26), date(2012, 11, 27), date(2012, 11, 28)]
TABLE = SessionTable([session(day) for day in TRADED], DAILY)
LATER = at(date(2012, 12, 31))


def bar(day: date, close: float = 10.0, *, opened: float | None = None, **changes: float) -> Bar:
    """A daily bar, a little wider than its open and close."""
    first = close if opened is None else opened
    made = Bar(at(day), first, max(first, close) * 1.01, min(first, close) * 0.99, close, 1000.0)
    return replace(made, **changes)


WEEK = [bar(day, 10.0 + n) for n, day in enumerate(TRADED)]


def taken(found: Screened) -> list[Bar]:
    return list(found.accepted)


def reasons(found: Screened) -> list[tuple[int, str]]:
    return [(refused.time, refused.reason) for refused in found.refused]


def test_complete_bars_are_let_through_in_order() -> None:
    assert screen("AAA", None, WEEK, TABLE, LATER) == Screened(tuple(WEEK), (), revised=False)
    assert screen("AAA", None, [*WEEK[2:], *WEEK[:2]], TABLE, LATER).accepted == tuple(WEEK)
    assert screen("AAA", None, [], TABLE, LATER) == Screened((), (), revised=False)


@pytest.mark.parametrize(("day", "closes"), [(1, "2012-11-23T18:00Z"), (2, "2012-11-26T21:00Z")])
def test_a_daily_bar_is_complete_when_its_session_closes_however_early(day: int, closes: str) -> None:
    """The day after Thanksgiving ends at 13:00; what forms is passed over, not refused."""
    before = screen("AAA", None, WEEK, TABLE, instant(closes) - 1)
    after = screen("AAA", None, WEEK, TABLE, instant(closes))
    assert (taken(before), taken(after)) == (WEEK[:day], WEEK[: day + 1])
    assert before.refused == after.refused == ()


def test_a_bar_that_forms_may_look_as_it_likes() -> None:
    forming = bar(TRADED[4], math.nan)
    assert screen("AAA", None, [*WEEK[:4], forming], TABLE, at(TRADED[4], time(12))) == screen(
        "AAA", None, WEEK[:4], TABLE, at(TRADED[4], time(12))
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"close": math.nan}, "close is nan, expected a finite number"),
        ({"close": None}, "close is None, expected a number"),
        ({"open": "12"}, "open is '12', expected a number"),
        ({"low": 0.0}, r"low is 0, expected a price in [1e-12, 1e+15]"),
        ({"volume": -1.0}, r"volume is -1, expected a volume in [0, 1e+18]"),
        ({"high": 11.0}, "high 11 is below max(open, close) 14"),
        ({"low": 14.5, "high": 14.6}, "low 14.5 is above min(open, close) 14"),
    ],
)
def test_a_corrupt_bar_is_refused_with_its_reasons(changes: dict[str, object], reason: str) -> None:
    corrupt = replace(WEEK[4], **changes)
    found = screen("AAA", WEEK[2], [WEEK[3], corrupt], TABLE, LATER)
    assert taken(found) == [WEEK[3]]
    assert reasons(found) == [(corrupt.time, reason)]
    assert found.refused[0].symbol == "AAA"


def test_a_bar_with_two_faults_tells_both() -> None:
    found = screen("AAA", None, [bar(TRADED[0], volume=math.inf, open=math.nan)], TABLE, LATER)
    assert reasons(found)[0][1] == "open is nan, expected a finite number; volume is inf, expected a finite number"


def test_a_bar_of_an_unreadable_or_wrong_time_is_refused() -> None:
    lost = replace(WEEK[0], time=MISSING)
    shifted = replace(WEEK[3], time=WEEK[3].time + HOUR)
    holiday = bar(date(2012, 11, 22))
    found = screen("AAA", None, [lost, WEEK[2], shifted, holiday], TABLE, LATER)
    assert taken(found) == [WEEK[2]]
    assert reasons(found)[0] == (MISSING, "time: found none that can be read, expected RFC 3339")
    assert (
        "daily bar starts at 2012-11-27T01:00:00 in America/New_York, expected a local midnight" in reasons(found)[1][1]
    )
    assert reasons(found)[2][1].startswith("no session: found a daily bar of a day without trading")


def test_a_duplicate_counts_once() -> None:
    found = screen("AAA", None, [WEEK[0], WEEK[1], WEEK[1], WEEK[2]], TABLE, LATER)
    assert taken(found) == WEEK[:3]
    assert reasons(found) == [(WEEK[1].time, "duplicate: found a bar a second time: it counts once")]


def test_two_bars_that_contradict_each_other_are_both_refused() -> None:
    found = screen("AAA", None, [*WEEK[:4], WEEK[4], replace(WEEK[4], volume=7.0)], TABLE, LATER)
    assert taken(found) == WEEK[:4]
    assert reasons(found)[0][1].startswith("duplicate with other numbers: found two bars of one start")


def test_a_late_bar_is_never_used() -> None:
    found = screen("AAA", WEEK[3], [WEEK[1], WEEK[3], WEEK[4]], TABLE, LATER)
    assert taken(found) == [WEEK[4]]
    assert reasons(found)[0][0] == WEEK[1].time
    assert reasons(found)[0][1].startswith("late: found a bar that starts before the last known one")


def test_the_last_known_bar_is_expected_again_and_noticed_where_it_changed() -> None:
    same = screen("AAA", WEEK[2], [WEEK[2], WEEK[3]], TABLE, LATER)
    assert (taken(same), same.refused, same.revised) == ([WEEK[3]], (), False)
    changed = screen("AAA", WEEK[2], [replace(WEEK[2], close=12.01), WEEK[3]], TABLE, LATER)
    assert (taken(changed), changed.revised) == ([WEEK[3]], True)
    assert not screen("AAA", WEEK[2], [WEEK[3]], TABLE, LATER).revised


def test_a_hole_before_the_newest_session_is_waited_for() -> None:
    found = screen("AAA", WEEK[0], [WEEK[2]], TABLE, LATER)
    assert taken(found) == []
    assert reasons(found) == [
        (
            WEEK[2].time,
            "hole: found no bar of 2012-11-23 before it, expected every session: waits for it, or for one more session",
        )
    ]
    assert taken(screen("AAA", WEEK[0], [WEEK[1], WEEK[2]], TABLE, LATER)) == WEEK[1:3]


def test_a_hole_that_stays_is_taken_as_a_fact_and_told() -> None:
    found = screen("AAA", WEEK[0], [WEEK[3], WEEK[4]], TABLE, LATER)
    assert taken(found) == WEEK[3:]
    missing = "missing: found no bar of this session, expected one: went on without it"
    assert reasons(found) == [(session(day).opens, missing) for day in TRADED[1:3]]


def test_a_corrupt_bar_leaves_a_hole() -> None:
    corrupt = bar(TRADED[1], math.nan)
    assert taken(screen("AAA", WEEK[0], [corrupt, WEEK[2]], TABLE, LATER)) == []
    assert taken(screen("AAA", WEEK[0], [corrupt, *WEEK[2:]], TABLE, LATER)) == WEEK[2:]


@pytest.mark.parametrize("factor", [3.0, 1 / 3.0, 1000.0])
def test_a_large_move_is_believed_when_the_next_bar_opens_there(factor: float) -> None:
    jump = bar(TRADED[1], 10.0 * factor, opened=10.0)
    found = screen("AAA", WEEK[0], [jump], TABLE, LATER)
    assert taken(found) == []
    assert reasons(found)[0][1] == (
        f"spike: found a close of {10 * factor:g} after 10, a move of {math.log(factor):+.2f} in logarithms, "
        "expected at most 1: the next bar decides"
    )
    there = bar(TRADED[2], 10.5 * factor)
    assert taken(screen("AAA", WEEK[0], [jump, there], TABLE, LATER)) == [jump, there]


def test_a_large_move_that_is_gone_at_the_next_open_never_was() -> None:
    """The bar after it closes a hole of its own: it is used once one more session has traded."""
    jump, back, more = bar(TRADED[1], 1000.0), bar(TRADED[2], 10.2), bar(TRADED[3], 10.3)
    found = screen("AAA", WEEK[0], [jump, back], TABLE, LATER)
    assert taken(found) == []
    assert reasons(found)[0][1].endswith("the next bar doesn't confirm it")
    assert taken(screen("AAA", WEEK[0], [jump, back, more], TABLE, LATER)) == [back, more]


@pytest.mark.parametrize("changes", [{"high": 40.0}, {"low": 1.0}, {"low": 1.0, "open": 1.0}])
def test_a_price_far_beyond_both_closes_is_refused_for_good(changes: dict[str, float]) -> None:
    wild = replace(bar(TRADED[1], 11.0, opened=10.0), **changes)
    found = screen("AAA", WEEK[0], [wild, *WEEK[2:]], TABLE, LATER)
    assert taken(found) == WEEK[2:]
    assert reasons(found)[0][1].startswith("spike: found prices from ")


def test_a_move_at_the_limit_is_believed() -> None:
    limit = math.exp(MAX_LOG_MOVE["1Day"])
    assert len(screen("AAA", WEEK[0], [bar(TRADED[1], 9.999 * limit, opened=10.0)], TABLE, LATER).accepted) == 1
    assert len(screen("AAA", WEEK[0], [bar(TRADED[1], 10.001 * limit, opened=10.0)], TABLE, LATER).accepted) == 0


def test_no_bar_of_the_real_ones_is_refused() -> None:
    """Twelve years of AAPL, which lost half of its price on 2000-09-29."""
    bars = demo_bars("AAPL")
    days = [datetime.fromtimestamp(start / 1e9, NEW_YORK).date() for start in bars.time.tolist()]
    table = SessionTable([session(day) for day in days], bars.spec)
    found = screen("AAPL", None, [bars.bar(row) for row in range(len(bars))], table, LATER * 2)
    assert (len(found.accepted), found.refused) == (3270, ())


def hour(day: date, clock: time, spec: BarSpec = HOURLY) -> Bar:
    return Bar(at(day, clock), 10.0, 10.1, 9.9, 10.0, 5.0)


def test_within_the_day_bars_are_complete_after_their_length_and_trading_hours_count() -> None:
    """The bar of 9:00 holds the first half hour of trading; those before and after trading are passed over."""
    table = SessionTable([session(day) for day in TRADED], HOURLY)
    day = TRADED[0]
    bars = [hour(day, time(clock)) for clock in (8, 9, 10, 15, 16, 19)]
    assert taken(screen("AAA", None, bars, table, at(day, time(23)))) == bars[1:4]
    assert taken(screen("AAA", None, bars, table, at(day, time(11)) - 1)) == bars[1:2]
    assert taken(screen("AAA", None, bars, table, at(day, time(11)))) == bars[1:3]
    extended = SessionTable(table.sessions, replace(HOURLY, session="extended"))
    assert taken(screen("AAA", None, bars, extended, at(day, time(23)))) == bars
    early = [hour(TRADED[1], time(clock)) for clock in (12, 13, 14)]
    assert taken(screen("AAA", bars[3], early, table, LATER)) == early[:1]


def test_minutes_without_a_trade_are_no_hole_but_a_session_without_one_is() -> None:
    """One venue's bars are sparse: a minute in which nobody traded there has none."""
    table = SessionTable([session(day) for day in TRADED], MINUTES)
    bars = [hour(TRADED[0], time(9, 30)), hour(TRADED[0], time(9, 47)), hour(TRADED[1], time(9, 31))]
    outside = [hour(TRADED[0], time(9, 29)), hour(TRADED[0], time(16))]
    assert taken(screen("AAA", None, [*bars, *outside], table, LATER)) == bars
    found = screen("AAA", bars[0], [hour(TRADED[2], time(9, 30)), hour(TRADED[2], time(9, 31))], table, LATER)
    assert taken(found) == []
    assert {reason.partition(" before")[0] for _, reason in reasons(found)} == {"hole: found no bar of 2012-11-23"}


def test_when_an_order_is_worked() -> None:
    table = SessionTable([session(day) for day in TRADED], HOURLY)
    assert table.works_at(at(TRADED[0], time(11))) == at(TRADED[0], time(11))
    assert table.works_at(at(TRADED[0], time(16))) == at(TRADED[1], time(9, 30))
    assert table.works_at(at(TRADED[0], time(4))) == at(TRADED[0], time(9, 30))
    assert table.works_at(at(TRADED[-1], time(16))) is None


LONG_TABLE = SessionTable([session(day) for day in DAYS], DAILY)


@st.composite
def feeds(draw: st.DrawFn) -> list[Bar]:
    """What a venue tells of some weeks: bars with faults, holes, spikes and duplicates at random places."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    walk = 10.0 * np.exp(np.cumsum(random.normal(0, 0.05, len(DAYS))))
    told: list[Bar] = []
    level = 1.0
    for day, step in zip(DAYS, walk.tolist(), strict=True):
        close = step * level
        what = draw(st.sampled_from(["clean"] * 6 + ["nan", "gone", "spike", "wick", "level", "twice", "torn"]))
        one = bar(day, close, opened=close * 1.01)
        if what == "level":
            level *= 4.0
            one = bar(day, close * 4.0, opened=close)
        changed = {
            "nan": [replace(one, close=math.nan)],
            "gone": [],
            "spike": [bar(day, close * 5.0, opened=close)],
            "wick": [replace(one, high=close * 9.0)],
            "twice": [one, one],
            "torn": [one, replace(one, volume=one.volume + 1.0)],
        }
        told += changed.get(what, [one])
    return told


def looked_at(told: list[Bar], now: int, last: Bar | None = None) -> Screened:
    """What one look at `now` lets through, asking for bars from the last known one on."""
    since = -(2**63) + 1 if last is None else last.time
    return screen("AAA", last, [one for one in told if since <= one.time <= now], LONG_TABLE, now)


@settings(max_examples=tiers.EXAMPLES)
@given(feeds(), st.lists(st.integers(0, len(DAYS) - 1), unique=True).map(sorted), st.integers(0, 20))
def test_it_does_not_matter_how_often_one_looked(told: list[Bar], looks: list[int], hours: int) -> None:
    """Bars collected over many looks are those of a single one at the end: so are the decisions of a trader that was
    restarted, or asleep. (The first look of both is at the first bar.)
    """
    end = LONG_TABLE.sessions[-1].closes
    known = list(looked_at(told, LONG_TABLE.sessions[0].closes).accepted)
    for row in looks:
        now = LONG_TABLE.sessions[row].closes + hours * HOUR
        found = looked_at(told, now, known[-1] if known else None)
        assert not found.revised
        known += found.accepted
    known += looked_at(told, end, known[-1] if known else None).accepted
    assert known == list(looked_at(told, end).accepted)


@settings(max_examples=tiers.EXAMPLES)
@given(feeds(), st.data())
def test_it_does_not_matter_since_when_one_looks(told: list[Bar], data: st.DataObject) -> None:
    whole = looked_at(told, LONG_TABLE.sessions[-1].closes).accepted
    if whole:
        row = data.draw(st.integers(0, len(whole) - 1))
        assert looked_at(told, LONG_TABLE.sessions[-1].closes, whole[row]).accepted == whole[row + 1 :]


@given(feeds(), st.integers(0, len(DAYS) - 1), st.integers(-48, 48))
def test_whatever_is_let_through_is_complete_clean_and_in_order(told: list[Bar], row: int, hours: int) -> None:
    now = LONG_TABLE.sessions[row].closes + hours * HOUR
    found = looked_at(told, now)
    times = [one.time for one in found.accepted]
    assert times == sorted(set(times))
    for one in found.accepted:
        end = LONG_TABLE.end_of(one.time)
        assert end is not None
        assert end <= now
        assert 0 < one.low <= min(one.open, one.close) <= max(one.open, one.close) <= one.high < math.inf
    for before, after in zip(found.accepted, found.accepted[1:], strict=False):
        assert math.log(after.high / max(before.close, after.close)) <= MAX_LOG_MOVE["1Day"]
    assert all(isinstance(refused, RefusedBar) and refused.reason for refused in found.refused)
