"""No minute has more requests than the limit, however they come."""

from hypothesis import given
from hypothesis import strategies as st

from live.pace import Pace


@given(st.integers(1, 6), st.lists(st.floats(0, 40), max_size=40))
def test_no_window_of_a_minute_holds_more_than_the_limit(per_minute: int, gaps: list[float]) -> None:
    pace, now, sent = Pace(per_minute), 1000.0, []
    for gap in gaps:
        now += gap
        now += pace.delay(now)
        pace.note(now)
        sent.append(now)
    for first, later in zip(sent, sent[per_minute:], strict=False):
        assert later - first >= 60.0 - 1e-9


@given(st.lists(st.floats(0, 1), max_size=20))
def test_there_is_no_wait_without_need(gaps: list[float]) -> None:
    free, roomy, now = Pace(None), Pace(len(gaps) + 1), 0.0
    for gap in gaps:
        now += gap
        assert free.delay(now) == roomy.delay(now) == 0.0
        free.note(now)
        roomy.note(now)
