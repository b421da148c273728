"""The engine: against a naive account, from any start to the bit, and what it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.decision.market import Costs
from mlflow_ppo_flavor.errors import ActionError, BarsError, SpecError
from tests import tiers
from tests.training import markets
from tests.training.markets import BUY_50, BUY_75, HOLD, SELL_25, SELL_75
from training.backtest import Backtest, Engine, PolicyFunction, run_backtest

EQUITY = 100_000.0
action_lists = st.lists(st.integers(0, 6), min_size=20, max_size=120)


def scripted(actions: Sequence[int], seen: list[NDArray[np.float32]] | None = None) -> PolicyFunction:
    """A policy that plays a list of actions, and remembers what it saw."""
    script: Iterator[int] = iter(actions)

    def act(observation: NDArray[np.float32]) -> int:
        if seen is not None:
            seen.append(observation)
        return next(script)

    return act


def play(engine: Engine, actions: Sequence[int], start: int) -> Backtest:
    """The course of these actions from a bar on."""
    return engine.run(scripted(actions), equity=EQUITY, start=start, end=start + len(actions) + 1)


def naive_equity(engine: Engine, actions: Sequence[int], start: int) -> list[float]:
    """The equity curve in plain floats: one account, the rules of the 2.7.0 sizing written out."""
    bars, spread, fee = engine.bars, engine.costs.spread_bps / 1e4, engine.costs.commission_bps / 1e4
    cash, shares, curve = EQUITY, 0.0, [EQUITY]
    for t, action in enumerate(actions, start):
        close = bars.close[t]
        equity = cash + shares * close
        notional = (0, 0.25, 0.5, 0.75, 0.25, 0.5, 0.75)[action] * equity * 0.7 * 0.15
        bought = 0.0
        if 1 <= action <= 3:
            wanted = min(notional, 0.2 * equity - shares * close, cash)
            bought = wanted / close if wanted >= 1 else 0.0
        elif action >= 4 and shares:
            bought = -shares if shares * close - notional < 1 else -notional / close
        price = bars.open[t + 1] * (1 + spread * np.sign(bought))
        cash -= bought * price + abs(bought) * price * fee
        shares += bought
        curve.append(cash + shares * bars.close[t + 1])
    return curve


@given(action_lists, st.integers(0, 200), st.floats(0, 100), st.floats(0, 100))
def test_equity_is_that_of_a_naive_account(actions: list[int], ahead: int, spread: float, commission: float) -> None:
    engine = replace(markets.engine(), costs=Costs(spread, commission))
    course = play(engine, actions, engine.first + ahead)
    # quantities are whole steps of 1e-9 shares, which the naive account doesn't round to
    np.testing.assert_allclose(course.equity, naive_equity(engine, actions, engine.first + ahead), rtol=1e-9)


@given(action_lists, st.integers(0, 200))
def test_any_start_of_the_bars_gives_the_same_to_the_bit(actions: list[int], ahead: int) -> None:
    engine = markets.engine()
    start = engine.first + ahead
    whole_seen: list[NDArray[np.float32]] = []
    part_seen: list[NDArray[np.float32]] = []
    end = start + len(actions) + 1
    whole = engine.run(scripted(actions, whole_seen), equity=EQUITY, start=start, end=end)
    part = run_backtest(
        scripted(actions, part_seen),
        engine.bars[start - engine.first : end],
        engine.spec,
        engine.instrument,
        engine.costs,
        initial_equity=EQUITY,
    )
    assert whole.states == part.states
    assert whole.decisions == part.decisions
    assert whole.fills == part.fills
    assert np.array_equal(whole.times, part.times)
    assert [seen.tobytes() for seen in whole_seen] == [seen.tobytes() for seen in part_seen]


def test_decisions_are_made_at_the_close_and_filled_at_the_next_open() -> None:
    engine = markets.engine()
    start = engine.first
    course = play(engine, [BUY_50, HOLD, SELL_75], start)
    bought, nothing, sold = course.fills
    assert (bought.time, nothing, sold.time) == (engine.bars.time[start + 1], None, engine.bars.time[start + 3])
    assert bought.price == engine.bars.open[start + 1] * (1 + 5e-4)
    assert sold.price == engine.bars.open[start + 3] * (1 - 5e-4)
    assert course.decisions[0].price == engine.bars.close[start]
    assert course.decisions[0].notional == pytest.approx(EQUITY * 0.7 * 0.15 * 0.5)
    assert list(course.times) == list(engine.bars.time[start : start + 4])
    assert [state.price for state in course.states] == list(engine.bars.close[start : start + 4])
    assert course.positions[[0, 3]].tolist() == [0.0, 0.0]
    assert (course.states[-1].trades, course.states[-1].quantity) == (1, 0)


def test_actions_and_skips_are_counted_under_their_names() -> None:
    course = play(markets.engine(), [SELL_25, HOLD] + [BUY_75] * 4, markets.engine().first)
    assert course.action_counts == {
        "HOLD": 1, "BUY_25%": 0, "BUY_50%": 0, "BUY_75%": 4, "SELL_25%": 1, "SELL_50%": 0, "SELL_75%": 0,
    }  # fmt: skip
    assert course.skips["no_position"] == 1
    assert Counter(d.skipped for d in course.decisions if d.skipped) == course.skips
    assert course.actions.tolist() == [SELL_25, HOLD, BUY_75, BUY_75, BUY_75, BUY_75]


def test_without_bounds_a_run_decides_at_every_bar_that_has_a_window_and_a_successor() -> None:
    engine = markets.engine()
    course = engine.run(lambda _: HOLD, equity=EQUITY)
    assert course.times[0] == engine.bars.time[engine.first]
    assert course.times[-1] == engine.bars.time[-1]
    assert engine.first == 20 + 5 - 2  # the longest lookback of the features and the window, ending at this bar
    assert course.equity.tolist() == [EQUITY] * len(course.times)


@settings(max_examples=tiers.SLOW_EXAMPLES)
@given(st.integers(-5, 60), st.integers(-5, 60))
def test_spans_that_hold_no_decision_are_refused(start: int, end: int) -> None:
    engine = Engine.prepare(markets.bars()[:50], markets.small_spec(), markets.INSTRUMENT, markets.COSTS)
    if start >= 23 and start + 2 <= end <= 50:
        assert engine.span(start, end) == range(start, end - 1)
        return
    with pytest.raises(BarsError) as refused:
        engine.span(start, end)
    expected = f"MEANREV: found start {start}, end {end}, expected 23 <= start, start + 2 <= end <= 50"
    assert str(refused.value) == expected


def test_bars_of_another_kind_or_too_few_are_refused() -> None:
    spec = MODEL_SPECS["2.7.0"].for_bars(timeframe="1Hour", adjustment="all")
    with pytest.raises(SpecError, match=r"^bars: found BarSpec\(timeframe='1Day'.* for MEANREV, expected .*'1Hour'"):
        Engine.prepare(markets.bars(), spec, markets.INSTRUMENT, markets.COSTS)
    with pytest.raises(BarsError) as refused:
        Engine.prepare(markets.bars()[:24], markets.small_spec(), markets.INSTRUMENT, markets.COSTS)
    assert str(refused.value) == (
        "MEANREV: found 24 bars, expected at least 25: 2.7.0 decides from 24 bars and fills at one more"
    )


def test_actions_outside_the_spec_are_refused() -> None:
    with pytest.raises(ActionError):
        markets.engine().run(lambda _: 7, equity=EQUITY)


def test_features_from_a_store_are_the_same(tmp_path: Path) -> None:
    stored = [
        Engine.prepare(markets.bars(), markets.small_spec(), markets.INSTRUMENT, markets.COSTS, store=tmp_path)
        for _ in range(2)
    ]
    assert len(list(tmp_path.iterdir())) == 1
    for engine in stored:
        assert engine.market.tobytes() == markets.engine().market.tobytes()
