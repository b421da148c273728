"""Sessions: holidays, half days and clock changes from the library, and the bars' own days where the two differ."""

import exchange_calendars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.exchange.calendar import SessionCalendar, venue_day
from tests.live.exchange.venues import WEEK, day, instant
from training.series import demo_bars


@pytest.fixture(scope="module")
def calendar() -> SessionCalendar:
    return SessionCalendar.around(day(text) for text in WEEK)


def test_the_closure_of_hurricane_sandy_has_no_session(calendar: SessionCalendar) -> None:
    days = [session.day.isoformat() for session in calendar.between(day("2012-10-26"), day("2012-11-01"))]
    assert days == ["2012-10-26", "2012-10-31", "2012-11-01"]
    assert calendar.next_open(instant("2012-10-26T20:00Z")) == instant("2012-10-31T13:30Z")


def test_sessions_follow_the_clock_change(calendar: SessionCalendar) -> None:
    friday, monday = calendar.on(day("2012-11-02")), calendar.on(day("2012-11-05"))
    assert (friday.opens, friday.closes) == (instant("2012-11-02T13:30Z"), instant("2012-11-02T20:00Z"))
    assert (monday.opens, monday.closes) == (instant("2012-11-05T14:30Z"), instant("2012-11-05T21:00Z"))


def test_the_day_after_thanksgiving_is_half_a_day(calendar: SessionCalendar) -> None:
    assert calendar.on(day("2012-11-22")) is None
    assert calendar.on(day("2012-11-23")).closes == instant("2012-11-23T18:00Z")


def test_a_session_that_the_bars_lack_is_none() -> None:
    """The library has 2012-11-01 as a session; the bars know better."""
    calendar = SessionCalendar.around(day(text) for text in WEEK if text != "2012-11-01")
    assert calendar.on(day("2012-11-01")) is None
    assert calendar.next_open(instant("2012-10-31T20:00Z")) == instant("2012-11-02T13:30Z")


def test_a_day_that_the_library_lacks_gets_the_usual_hours() -> None:
    calendar = SessionCalendar.around([day("2012-10-26"), day("2012-10-29"), day("2012-10-31")])
    monday = calendar.on(day("2012-10-29"))
    assert (monday.opens, monday.closes) == (instant("2012-10-29T13:30Z"), instant("2012-10-29T20:00Z"))


def test_a_session_is_open_from_its_open_to_just_before_its_close(calendar: SessionCalendar) -> None:
    session = calendar.on(day("2012-10-31"))
    assert calendar.at(session.opens) is session
    assert calendar.at(session.closes - 1) is session
    assert calendar.at(session.opens - 1) is None
    assert calendar.at(session.closes) is None
    assert calendar.upcoming(session.closes - 1) is session
    assert calendar.upcoming(session.closes).day == day("2012-11-01")


def test_behind_the_last_session_nothing_comes(calendar: SessionCalendar) -> None:
    end = calendar.sessions[-1].closes
    assert calendar.upcoming(end) is None
    assert calendar.next_open(end) is None


@given(st.integers(0, 60 * 24 * 30))
def test_upcoming_and_next_open_are_what_a_search_of_all_sessions_finds(minutes: int) -> None:
    calendar = SessionCalendar.around(day(text) for text in WEEK)
    now = instant("2012-10-10T00:00Z") + minutes * 60_000_000_000
    opens = [session.opens for session in calendar.sessions if session.opens > now]
    ends = [session for session in calendar.sessions if session.closes > now]
    assert calendar.next_open(now) == opens[0]
    assert calendar.upcoming(now) is ends[0]


def test_the_library_agrees_with_thirteen_years_of_real_bars() -> None:
    """The 3,270 days of IBM from 2000 to 2013 are all the sessions that the library has between them."""
    traded = [venue_day(int(time)) for time in demo_bars("IBM").time]
    library = exchange_calendars.get_calendar("XNYS", start="2000-01-01")
    assert len(traded) == 3270
    assert traded == [day.date() for day in library.sessions_in_range(str(traded[0]), str(traded[-1]))]
