"""Simulated time: accelerated as a pure function of the real clock, or moved step by step."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.exchange.clock import AcceleratedClock, LockstepClock
from live.exchange.tape import Tape
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.errors import SpecError
from tests.live.exchange.venues import AAA_ROWS, bars_of, instant, week_of_bars

START = instant("2012-10-24T20:00Z")


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape(week_of_bars())


def test_time_runs_at_its_speed(tape: Tape) -> None:
    real = iter([100.0, 100.0, 100.5, 101.0])
    clock = AcceleratedClock.starting(tape, START, speed=86_400.0, monotonic=lambda: next(real))
    moments = [clock.moment() for _ in range(3)]
    assert [moment.now for moment in moments] == [START, START + 43_200 * 10**9, START + 86_400 * 10**9]
    assert [moment.position for moment in moments] == [2, 2, 4]


@given(
    st.floats(0.001, 1e9),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=10).map(sorted),
    st.floats(-1e6, 1e6),
)
def test_time_never_runs_back_and_stops_behind_the_last_bar(speed: float, real: list[float], origin: float) -> None:
    tape = Tape({"AAA": bars_of("AAA", AAA_ROWS[:2], ["2012-10-25", "2012-10-26"])})
    readings = iter([origin, *(origin + elapsed for elapsed in real)])
    clock = AcceleratedClock.starting(tape, START, speed=speed, monotonic=lambda: next(readings))
    moments = [clock.moment() for _ in real]
    for earlier, later in pairwise(moments):
        assert earlier.now <= later.now
        assert earlier.position <= later.position
    assert moments[0].now >= START
    assert moments[-1].now <= instant("2012-10-26T20:00Z")


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
def test_a_speed_that_is_none_is_refused(tape: Tape, speed: float) -> None:
    with pytest.raises(SpecError, match=r"speed: found .*, expected a finite number above 0"):
        AcceleratedClock.starting(tape, START, speed=speed, monotonic=lambda: 0.0)


def test_lockstep_moves_by_bars_and_by_events_and_stops_at_the_end(tape: Tape) -> None:
    clock = LockstepClock(tape, START)
    assert clock.moment().now == START
    assert clock.moment() == clock.moment()
    assert clock.advance_events(1).now == instant("2012-10-25T13:30Z")
    assert clock.advance_bars(1).now == instant("2012-10-25T20:00Z")
    assert clock.advance_bars(2).now == instant("2012-10-31T20:00Z")
    assert clock.advance_bars(99).now == instant("2012-11-02T20:00Z")
    assert clock.advance_events(99).position == 12


def test_lockstep_may_start_between_events(tape: Tape) -> None:
    """On the Sunday: nothing has happened since Friday's close, and the time is told as given."""
    clock = LockstepClock(tape, instant("2012-10-28T12:00Z"))
    assert clock.moment().now == instant("2012-10-28T12:00Z")
    assert clock.advance_bars(1).now == instant("2012-10-31T20:00Z")


def test_lockstep_starts_behind_the_close_of_a_bar_that_another_adjoins() -> None:
    times = ["2012-10-26T14:00Z", "2012-10-26T14:01Z"]
    minutes = Tape({"AAA": bars_of("AAA", AAA_ROWS[:2], times, BarSpec("1Min", "raw"))})
    clock = LockstepClock(minutes, instant("2012-10-26T14:01Z"))
    assert clock.moment().position == 2
    assert minutes.forming("AAA", clock.moment().position) is None
