"""The trading environment: the course of a backtest, seeded, ending where it should; and Gymnasium's own checker."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_ppo_flavor.errors import ActionError
from tests import tiers
from tests.training import markets
from tests.training.markets import BUY_75, HOLD
from tests.training.test_backtest import scripted
from training.backtest import run_backtest
from training.config import EpisodeConfig
from training.environment import GymnasiumTrading, Moment, TradingEnvironment, TradingTask

EPISODE = EpisodeConfig(length=30, initial_equity=50_000.0, reward_scale=10.0, ruin_fraction=0.5)


def environment(num_envs: int = 3, episode: EpisodeConfig = EPISODE) -> TradingEnvironment:
    """Episodes over the generated series."""
    return TradingEnvironment(markets.engine(), num_envs, episode)


@settings(max_examples=tiers.SLOW_EXAMPLES)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_a_rollout_is_a_backtest_of_the_same_actions_to_the_bit(seed: int, actions_seed: int) -> None:
    engine, env = markets.engine(), environment()
    actions = np.random.default_rng(actions_seed).integers(7, size=(30, 3))
    observations = [env.reset(seed)]
    starts, states, rewards, finals = [m.bar for m in env.moments], [], [], {}
    for step in actions:
        over_at = [m.bar + 1 for m in env.moments]
        answer = env.step(step)
        observations.append(answer.observations)
        rewards.append(answer.rewards)
        states.append([m.state for m in env.moments])
        for row, i in enumerate(np.flatnonzero(answer.terminated | answer.truncated)):
            finals.setdefault(int(i), (len(rewards), over_at[i], answer.final_observations[row]))
    for i, start in enumerate(starts):
        length, last_bar, final = finals[i]
        assert length == min(30, len(engine.bars) - 1 - start)
        seen: list[np.ndarray] = []
        backtest = run_backtest(
            scripted(actions[:, i].tolist(), seen),
            engine.bars[: last_bar + 1],
            engine.spec,
            engine.instrument,
            engine.costs,
            initial_equity=50_000.0,
            start=start,
        )
        assert [o[i].tobytes() for o in observations[:length]] == [o.tobytes() for o in seen]
        assert [s[i] for s in states[: length - 1]] == list(backtest.states[1:-1])
        assert final.tobytes() == engine.observe(last_bar, backtest.states[-1]).tobytes()
        growth = np.diff([math.log(equity) for equity in backtest.equity])
        assert [r[i] for r in rewards[:length]] == pytest.approx((10.0 * growth).tolist(), abs=1e-12)


def trace(env: TradingEnvironment, seed: int) -> list[bytes]:
    """Everything that 80 steps of fixed actions answer, as bytes."""
    actions, told = np.random.default_rng(5).integers(7, size=(80, env.num_envs)), [env.reset(seed).tobytes()]
    for step in actions:
        answer = env.step(step)
        told += [part.tobytes() for part in vars(answer).values()]
    return told


def test_the_same_seed_gives_the_same_episodes_and_another_others() -> None:
    env = environment()
    first = trace(env, 1)
    assert trace(env, 1) == first
    assert trace(environment(), 1) == first
    assert trace(env, 2) != first


def test_starts_are_drawn_evenly_from_all_bars_that_allow_a_decision() -> None:
    task, random = TradingTask(markets.engine(60), EPISODE), np.random.default_rng(0)
    counts = np.bincount([task.begin(random).bar for _ in range(7_200)], minlength=60)
    assert counts[:23].sum() == 0
    assert counts[59] == 0
    # 36 bars, 200 expected each: six standard deviations around it
    assert counts[23:59].min() > 200 - 85
    assert counts[23:59].max() < 200 + 85


def test_an_episode_is_truncated_by_its_length_and_by_the_last_bar() -> None:
    task = TradingTask(markets.engine(60), EpisodeConfig(length=3))
    start = Moment(30, markets.engine(60).start(30, 100_000.0), 0)
    second = task.go_on(task.go_on(start, BUY_75).moment, HOLD)
    third = task.go_on(second.moment, HOLD)
    assert (second.truncated, third.truncated, third.terminated) == (False, True, False)
    assert (third.moment.bar, third.moment.age) == (33, 3)
    late = task.go_on(Moment(58, markets.engine(60).start(58, 100_000.0), 0), HOLD)
    assert (late.truncated, late.terminated, late.moment.bar) == (True, False, 59)


def test_ruin_terminates_and_is_no_truncation() -> None:
    engine = markets.engine()
    task = TradingTask(engine, EpisodeConfig(length=2, ruin_fraction=0.999))
    falls = engine.bars.close[25:] / engine.bars.open[25:]
    t = 24 + int(np.argmin(falls))
    moment = Moment(t - 1, engine.start(t - 1, 100_000.0), 0)
    for _ in range(2):
        outcome = task.go_on(moment, BUY_75)
        moment = outcome.moment
    assert moment.state.equity <= 99_900.0
    assert (outcome.terminated, outcome.truncated) == (True, False)
    assert outcome.reward < 0


def test_ended_episodes_begin_anew_at_once_and_show_their_last_observation() -> None:
    env = environment(episode=EpisodeConfig(length=1))
    before = env.reset(3)
    moments = list(env.moments)
    answer = env.step(np.array([HOLD, HOLD, HOLD]))
    assert answer.truncated.all()
    assert not answer.terminated.any()
    assert [m.age for m in env.moments] == [0, 0, 0]
    for row, moment in zip(answer.final_observations, moments, strict=True):
        assert row.tobytes() == env.task.engine.observe(moment.bar + 1, moment.state).tobytes()
    assert not np.array_equal(before, answer.observations)


def test_doing_nothing_is_worth_nothing() -> None:
    env = environment()
    env.reset(0)
    assert env.step(np.zeros(3, dtype=np.int64)).rewards.tolist() == [0.0, 0.0, 0.0]


def test_gymnasium_finds_no_fault() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(GymnasiumTrading(markets.engine(), EPISODE), skip_render_check=True)


@pytest.mark.parametrize("seed", range(3))
def test_gymnasium_view_goes_as_the_task(seed: int) -> None:
    view, task = GymnasiumTrading(markets.engine(), EPISODE), TradingTask(markets.engine(), EPISODE)
    observation, info = view.reset(seed=seed)
    moment, over = task.begin(np.random.default_rng(seed)), False
    assert info == {}
    while not over:
        assert view.observation_space.contains(observation)
        assert observation.tobytes() == task.engine.observe(moment.bar, moment.state).tobytes()
        action = np.int64(moment.age % 7)
        observation, reward, terminated, truncated, info = view.step(action)
        outcome = task.go_on(moment, int(action))
        moment, over = outcome.moment, terminated or truncated
        assert (reward, terminated, truncated) == (outcome.reward, outcome.terminated, outcome.truncated)
        assert info == {"equity": moment.state.equity}


def test_actions_outside_the_spec_are_refused() -> None:
    env = environment()
    env.reset(0)
    with pytest.raises(ActionError):
        env.step(np.array([0, 7, 0]))
