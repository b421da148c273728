"""Scores against plain loops, baselines against arithmetic by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.market import Costs
from mlflow_ppo_flavor.errors import BarsError
from tests.training import markets
from tests.training.markets import BUY_25, BUY_75, HOLD, SELL_75
from tests.training.test_backtest import play, scripted
from training.backtest import Course
from training.config import PPOConfig
from training.evaluator import Score, bars_a_year, buy_and_hold, evaluate, greedy, mean_score, random_actions, score
from training.ppo import initial_policy

EQUITY = 100_000.0


def course_of(equities: list[float]) -> Course:
    """A course of flat accounts with the given cash."""
    flat = AccountState.start(EQUITY)
    states = tuple(replace(flat, cash=equity) for equity in equities)
    return Course(markets.bars()[: len(equities)], states, (None,) * (len(equities) - 1))


def naive_numbers(equities: list[float]) -> tuple[float, float, float, float]:
    """Total return, annual return, Sharpe and drawdown of daily closes, in loops."""
    returns = [after / before - 1 for before, after in pairwise(equities)]
    growth = equities[-1] / equities[0]
    mean = sum(returns) / len(returns)
    deviation = math.sqrt(sum((r - mean) ** 2 for r in returns) / (len(returns) - 1))
    peak, deepest = equities[0], 0.0
    for equity in equities:
        peak = max(peak, equity)
        deepest = min(deepest, equity / peak - 1)
    return growth - 1, growth ** (252 / len(returns)) - 1, mean / deviation * math.sqrt(252), deepest


@given(st.lists(st.floats(-0.05, 0.05), min_size=20, max_size=200), st.integers(0, 2**32))
def test_score_is_that_of_plain_loops(steps: list[float], seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.001, len(steps))  # a curve that never varies has no Sharpe ratio
    equities = (EQUITY * np.cumprod([1.0, *(1 + np.array(steps) + noise)])).tolist()
    found = score(course_of(equities))
    numbers = (found.total_return, found.annual_return, found.sharpe, found.max_drawdown)
    assert numbers == pytest.approx(naive_numbers(equities), rel=1e-6, abs=1e-9)


@given(st.lists(st.integers(0, 6), min_size=20, max_size=100))
def test_trades_turnover_and_exposure_are_those_of_a_naive_account(actions: list[int]) -> None:
    engine = markets.engine()
    course = play(engine, actions, engine.first)
    held, flow, won, closed, traded, shares = Decimal(0), 0.0, 0, 0, 0.0, []
    for fill, close, equity in zip(course.fills, course.bars.close[1:], course.equity[1:], strict=True):
        if fill is not None:
            flow -= float(fill.quantity) * fill.price + fill.fee
            traded += abs(float(fill.quantity) * fill.price)
            held += fill.quantity
            if held == 0:
                won, closed, flow = won + (flow > 0), closed + 1, 0.0
        shares.append(float(held) * close / equity)
    found = score(course)
    assert found.trades == closed
    assert found.win_rate == pytest.approx(won / closed if closed else math.nan, nan_ok=True)
    assert found.orders == sum(fill is not None for fill in course.fills)
    assert found.exposure == pytest.approx(sum(shares) / len(shares))
    assert found.turnover == pytest.approx(traded / course.equity.mean() * 252 / len(actions))


def test_a_flat_course_has_no_sharpe_ratio_and_no_win_rate() -> None:
    flat = score(course_of([EQUITY] * 10))
    assert math.isnan(flat.sharpe)
    assert math.isnan(flat.win_rate)
    rest = {name: number for name, number in flat.to_dict().items() if name not in ("sharpe", "win_rate")}
    assert set(rest.values()) == {0.0}


def test_what_is_lost_beyond_all_counts_as_all() -> None:
    ruined = score(course_of([EQUITY, EQUITY / 2, -EQUITY, -2 * EQUITY]))
    assert ruined.total_return == -1.0
    assert ruined.max_drawdown == -1.0


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        (BarSpec("1Day", "all"), 252),
        (BarSpec("1Hour", "all"), 252 * 6.5),
        (BarSpec("1Min", "raw"), 252 * 390),
        (BarSpec("1Hour", "raw", session="extended"), 252 * 16),
        (BarSpec("1Day", "raw", session="continuous"), 365),
        (BarSpec("1Min", "raw", session="continuous"), 365 * 1440),
    ],
)
def test_years_have_the_bars_of_their_sessions(bars: BarSpec, expected: float) -> None:
    assert bars_a_year(bars) == pytest.approx(expected)


def test_mean_score_leaves_out_what_has_no_meaning() -> None:
    numbers = dict.fromkeys(Score.__dataclass_fields__, 1.0)
    one, two = Score(**numbers), Score(**(numbers | {"sharpe": math.nan, "win_rate": math.nan, "trades": 4.0}))
    mean = mean_score([one, two])
    assert (mean.sharpe, mean.win_rate, mean.trades, mean.exposure) == (1.0, 1.0, 2.5, 1.0)
    assert math.isnan(mean_score([two]).sharpe)


@given(st.floats(0, 1), st.integers(0, 300), st.floats(0, 50), st.floats(0, 50))
def test_buying_and_holding_is_one_purchase_by_hand(share: float, ahead: int, spread: float, commission: float) -> None:
    whole = Instrument.equity("MEANREV", fractionable=False)
    engine = replace(markets.engine(), costs=Costs(spread, commission), instrument=whole)
    start = engine.first + ahead
    course = buy_and_hold(engine, share, equity=EQUITY, start=start)
    paid = engine.bars.open[start + 1] * (1 + spread / 1e4) * (1 + commission / 1e4)
    shares = math.floor(share * EQUITY / paid)
    cash = EQUITY - shares * paid
    expected = [EQUITY, *(cash + shares * close for close in engine.bars.close[start + 1 :])]
    assert cash >= 0
    np.testing.assert_allclose(course.equity, expected, rtol=1e-12)
    assert [fill is not None for fill in course.fills] == [shares > 0] + [False] * (len(course.fills) - 1)
    assert np.array_equal(course.times, engine.bars.time[start:])


def test_holding_nothing_is_doing_nothing() -> None:
    engine = markets.engine()
    idle, held = engine.run(lambda _: HOLD, equity=EQUITY), buy_and_hold(engine, 0.0, equity=EQUITY)
    assert idle.states == held.states
    assert idle.fills == held.fills


def test_random_actions_are_even_seeded_and_blind() -> None:
    spec = markets.small_spec()
    act, again, other = random_actions(spec, 0), random_actions(spec, 0), random_actions(spec, 1)
    blind = np.zeros(spec.obs_dim, dtype=np.float32)
    drawn = [act(blind) for _ in range(7_000)]
    assert drawn == [again(blind) for _ in range(7_000)]
    assert drawn != [other(blind) for _ in range(7_000)]
    # 1,000 of each expected: five standard deviations around it
    assert np.abs(np.bincount(drawn, minlength=7) - 1_000).max() < 150


def test_greedy_takes_the_most_probable_action() -> None:
    policy = initial_policy(markets.small_spec(), PPOConfig(hidden_dims=(8,), seed=1))
    act = greedy(policy)
    for row in np.random.default_rng(0).normal(size=(20, policy.spec.obs_dim)).astype(np.float32):
        logits = policy(torch.from_numpy(row)[None])[0][0].tolist()
        assert act(row) == logits.index(max(logits))


def test_evaluation_sets_policy_beside_baselines_over_the_same_bars() -> None:
    engine = markets.engine()
    actions = [BUY_75, HOLD, SELL_75, BUY_25] * 5
    found = evaluate(engine, scripted(actions), equity=EQUITY, start=100, end=121, seeds=(3, 4))
    assert list(found.scores) == ["policy", "hold 100%", "hold 20%", "do nothing", "random"]
    assert list(found.curves) == list(found.scores)
    assert all(len(curve) == len(found.policy.times) == 21 for curve in found.curves.values())
    assert found.scores["policy"] == score(found.policy)
    randoms = [engine.run(random_actions(engine.spec, seed), equity=EQUITY, start=100, end=121) for seed in (3, 4)]
    assert [r.states for r in found.random] == [r.states for r in randoms]
    np.testing.assert_allclose(found.curves["random"], (randoms[0].equity + randoms[1].equity) / 2)
    assert found.scores["random"] == mean_score([score(r) for r in randoms])
    full, part = found.scores["hold 100%"], found.scores["hold 20%"]
    assert full.exposure == pytest.approx(1.0, abs=1e-6)
    assert part.exposure == pytest.approx(0.2, abs=0.02)


def test_spans_outside_the_bars_are_refused() -> None:
    with pytest.raises(BarsError, match=r"^MEANREV: found start 399, end 400, expected 23 <= start, start \+ 2 <= end"):
        buy_and_hold(markets.engine(), 1.0, equity=EQUITY, start=399)
