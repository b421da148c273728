"""The tape: what has opened and closed at every position, by day and within the day."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.exchange.tape import CLOSE, OPEN, Tape
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.errors import BarsError
from tests.live.exchange.venues import AAA_ROWS, WEEK, bars_of, instant, week_of_bars

MINUTE = 60_000_000_000
MINUTES = BarSpec("1Min", "raw")
HOURS = BarSpec("1Hour", "raw")


def test_a_daily_bar_opens_and_closes_with_its_session() -> None:
    tape = Tape({"AAA": bars_of("AAA", AAA_ROWS, WEEK)})
    assert list(tape.kinds) == [OPEN, CLOSE] * 6
    assert tape.times[4] == instant("2012-10-26T13:30Z")
    assert tape.times[5] == instant("2012-10-26T20:00Z")
    assert tape.times[6] == instant("2012-10-31T13:30Z")


def test_while_a_bar_forms_only_its_open_is_known() -> None:
    tape = Tape({"AAA": bars_of("AAA", AAA_ROWS, WEEK)})
    assert (tape.completed("AAA", 2), tape.forming("AAA", 2), tape.price("AAA", 2)) == (1, None, 10.5)
    assert (tape.completed("AAA", 3), tape.forming("AAA", 3), tape.price("AAA", 3)) == (1, 1, 11.0)
    assert (tape.completed("AAA", 4), tape.forming("AAA", 4), tape.price("AAA", 4)) == (2, None, 11.25)


def test_before_its_first_bar_a_symbol_has_no_price() -> None:
    tape = Tape(week_of_bars())
    third_open = tape.position_at(instant("2012-10-26T13:30Z"))
    assert tape.price("NEW", third_open - 1) is None
    assert tape.price("NEW", third_open) == 12.0


def test_between_adjoining_bars_there_is_a_position_with_none_forming() -> None:
    times = ["2012-10-26T14:00Z", "2012-10-26T14:01Z", "2012-10-26T14:02Z"]
    tape = Tape({"AAA": bars_of("AAA", AAA_ROWS[:3], times, MINUTES)})
    assert list(tape.kinds) == [OPEN, CLOSE, OPEN, CLOSE, OPEN, CLOSE]
    assert tape.times[1] == tape.times[2] == instant("2012-10-26T14:01Z")
    assert (tape.completed("AAA", 2), tape.forming("AAA", 2)) == (1, None)
    assert tape.position_at(instant("2012-10-26T14:01Z")) == 3
    assert (tape.completed("AAA", 3), tape.forming("AAA", 3)) == (1, 1)


def test_the_first_hour_opens_at_half_past_nine() -> None:
    """Alpaca's hourly bars start at full hours; trading starts at 9:30."""
    times = ["2012-10-26T13:00Z", "2012-10-26T14:00Z", "2012-10-26T19:30Z", "2012-10-26T20:30Z"]
    tape = Tape({"AAA": bars_of("AAA", AAA_ROWS[:4], times, HOURS)})
    assert tape.times[0] == instant("2012-10-26T13:30Z")
    assert tape.times[1] == instant("2012-10-26T14:00Z")
    assert tape.times[5] == instant("2012-10-26T20:00Z")
    assert (tape.times[6], tape.times[7]) == (instant("2012-10-26T20:30Z"), instant("2012-10-26T21:30Z"))


def test_a_bar_that_starts_with_the_close_lies_outside_the_session() -> None:
    tape = Tape({"AAA": bars_of("AAA", AAA_ROWS[:1], ["2012-10-26T20:00Z"], HOURS)})
    assert list(tape.times) == [instant("2012-10-26T20:00Z"), instant("2012-10-26T21:00Z")]


def test_symbols_share_the_events_of_one_instant() -> None:
    tape = Tape(week_of_bars())
    assert len(tape.times) == 12
    assert tape.members(0) == (("AAA", 0), ("BBB", 0))
    assert tape.members(4) == (("AAA", 2), ("BBB", 2), ("NEW", 0))


def test_the_next_closes_are_counted_from_any_position() -> None:
    tape = Tape(week_of_bars())
    assert tape.after_closes(0, 1) == 2
    assert tape.after_closes(1, 1) == 2
    assert tape.after_closes(2, 2) == 6
    assert tape.after_closes(2, 99) == 12


@given(st.sets(st.integers(0, 380), min_size=1, max_size=12), st.sets(st.integers(0, 380), min_size=1, max_size=12))
def test_at_every_position_each_bar_is_future_forming_or_complete(ours: set[int], theirs: set[int]) -> None:
    """Against the naive reading of each bar's own start and end."""
    first = instant("2012-10-26T13:30Z")
    starts = {"ONE": sorted(ours), "TWO": sorted(theirs)}
    tape = Tape(
        {symbol: _minute_bars(symbol, [first + m * MINUTE for m in minutes]) for symbol, minutes in starts.items()}
    )
    for position in range(len(tape.times) + 1):
        now, last_is_open = tape.time_at(position), position > 0 and tape.kinds[position - 1] == OPEN
        for symbol, minutes in starts.items():
            ends = [first + (m + 1) * MINUTE for m in minutes]
            opened = sum(end - MINUTE <= now - (not last_is_open) for end in ends)
            complete = sum(end <= now for end in ends)
            assert tape.completed(symbol, position) == complete
            assert tape.forming(symbol, position) == (opened - 1 if opened > complete else None)


def _minute_bars(symbol: str, starts: list[int]) -> Bars:
    times = [str(np.datetime64(start, "ns")) + "Z" for start in starts]
    return bars_of(symbol, [AAA_ROWS[0]] * len(starts), times, MINUTES)


def test_bars_of_two_kinds_make_no_tape() -> None:
    daily, minutes = week_of_bars()["AAA"], _minute_bars("BBB", [instant("2012-10-26T14:00Z")])
    with pytest.raises(BarsError, match="found bars of 1Day raw and 1Min raw, expected one timeframe and adjustment"):
        Tape({"AAA": daily, "BBB": minutes})
