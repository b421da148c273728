"""What is observed at a bar, and how an account is followed over bars: pure, and held against training's engine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.history import begin, follow, observe
from live.record import Standing
from mlflow_ppo_flavor.decision.account import AccountState, mark
from mlflow_ppo_flavor.errors import BarsError
from mlflow_ppo_flavor.model.stages import bars_needed
from tests.live.trading import SPEC
from tests.live.values import standings
from tests.training.markets import bars, engine

NEEDED = bars_needed(SPEC)
BARS = bars()
ROWS = st.integers(NEEDED - 1, len(BARS) - 1)


@given(ROWS, st.integers(0, 50), standings())
def test_the_observation_is_the_engines_from_however_many_bars(row: int, more: int, standing: Standing) -> None:
    known = BARS[max(row + 1 - NEEDED - more, 0) : row + 1]
    expected = engine().observe(row, standing.state)
    assert observe(known, standing.state, SPEC).tobytes() == expected.tobytes()


def test_too_few_bars_are_refused() -> None:
    with pytest.raises(BarsError, match="MEANREV: 4 features look back 20 bars: found start 18, expected a bar in"):
        observe(BARS[: NEEDED - 1], AccountState.start(1.0), SPEC)


@given(ROWS, st.floats(1.0, 1e9))
def test_an_account_begins_as_an_episode_does(row: int, capital: float) -> None:
    standing = begin(BARS[: row + 1], capital)
    assert standing == Standing(engine().start(row, capital), int(BARS.time[row]))


@given(standings(), st.lists(ROWS, min_size=1, max_size=5))
def test_an_account_is_marked_once_at_each_new_close_however_the_bars_come(standing: Standing, ends: list[int]) -> None:
    first, ends = 10, sorted(ends)
    followed = start = Standing(standing.state, int(BARS.time[first]))
    for end in ends:
        # the table that a desk knows is cut at its beginning as it grows
        followed = follow(followed, BARS[first + 1 if end == ends[0] else ends[0] + 1 : end + 1] or BARS[: end + 1])
        followed = follow(followed, BARS[: end + 1])
    expected = start.state
    for close in BARS.close[first + 1 : ends[-1] + 1].tolist():
        expected = mark(expected, close)
    assert followed == Standing(expected, int(BARS.time[ends[-1]]))


@given(standings())
def test_bars_before_the_last_mark_change_nothing(standing: Standing) -> None:
    marked = Standing(standing.state, int(BARS.time[50]))
    assert follow(marked, BARS[20:51]) == marked
    assert follow(marked, BARS[20:40]) == marked
    assert np.all(BARS.time[20:51] <= marked.marked)
