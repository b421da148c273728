"""Golden decisions of the trainer: made from what its environment showed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from safetensors.torch import save

from mlflow_ppo_flavor.contract.digest import sha256_hex
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.replay import replay
from tests.training import markets
from training.backtest import Engine
from training.config import EpisodeConfig, PPOConfig
from training.environment import TradingEnvironment
from training.ppo import initial_policy
from training.recording import CASES_AN_EPISODE, met_moments, record
from training.series import demo_bars


def environment(length: int = 20) -> TradingEnvironment:
    """Two places over the generated series."""
    return TradingEnvironment(markets.engine(), 2, EpisodeConfig(length=length))


def policy() -> ActorCritic:
    """Untrained: what is recorded doesn't depend on what was learned."""
    return initial_policy(markets.small_spec(), PPOConfig(hidden_dims=(8,), seed=3))


def test_golden_observations_are_those_that_the_environment_shows() -> None:
    env = environment()
    moments = met_moments(policy(), environment(), seed=1)
    golden = record(policy(), env, episodes=2, seed=1)
    shown = sorted((m.bar, sha256_hex(env.task.engine.observe(m.bar, m.state).tobytes())) for m in moments)
    assert sorted(digest for _, digest in shown) == sorted(golden.digests)
    assert len(golden.cases) == 2 * CASES_AN_EPISODE
    assert sorted(c.account.to_dict()["cash"] for c in golden.cases) == sorted(m.state.cash for m in moments)


def test_moments_are_spread_over_an_episode_and_end_with_it() -> None:
    moments = met_moments(policy(), environment(), seed=1)
    assert [m.age for m in moments] == [age for age in (0, 4, 8, 11, 15, 19) for _ in range(2)]
    longer_than_bars = met_moments(policy(), environment(length=1_000), seed=1)
    assert all(m.bar < len(markets.bars()) - 1 for m in longer_than_bars)
    assert len({m.state.cash for m in moments}) > 6


def test_recording_is_seeded_and_leaves_the_environment_alone() -> None:
    env = environment()
    env.reset(9)
    before = list(env.moments)
    first, again, other = (record(policy(), env, seed=seed) for seed in (1, 1, 2))
    assert env.moments == before
    assert first.digests == again.digests
    assert first.digests != other.digests
    assert len(first.cases) == len(met_moments(policy(), TradingEnvironment(env.task.engine, 4, env.task.episode), 1))


def test_a_spec_without_bars_has_no_golden_decisions() -> None:
    spec = replace(markets.small_spec(), bars=None)
    engine = Engine.prepare(markets.bars(), spec, markets.INSTRUMENT, markets.COSTS)
    unbound = initial_policy(spec, PPOConfig(hidden_dims=(8,)))
    with pytest.raises(SpecError, match=r"^(spec\.)?bars: "):
        record(unbound, TradingEnvironment(engine, 2, EpisodeConfig(length=20)), seed=1)


def real(symbol: str = "AAPL") -> Engine:
    """A released spec over real bars."""
    spec = MODEL_SPECS["2.7.0"].for_bars(timeframe="1Day", adjustment="all", symbols=[symbol])
    return Engine.prepare(demo_bars(symbol), spec, Instrument.equity(symbol), markets.COSTS)


def test_a_released_specs_golden_decisions_come_from_four_stretches_of_real_bars() -> None:
    engine = real()
    untrained = initial_policy(engine.spec, PPOConfig(hidden_dims=(8,), seed=3))
    for seed in (0, 1):
        golden = record(untrained, TradingEnvironment(engine, 8, EpisodeConfig()), seed=seed)
        moments = met_moments(untrained, TradingEnvironment(engine, 4, EpisodeConfig()), seed=seed)
        starts = [moment.bar - engine.first for moment in moments if moment.age == 0]
        assert sorted(start * 4 // (len(engine.bars) - 1 - engine.first) for start in starts) == [0, 1, 2, 3]
        assert replay(golden, untrained, engine.spec) == ()
        assert 20 <= len(golden.cases) <= 24
        assert 200_000 < len(save(golden.to_tensors())) < 600_000
        accounts = [case.account for case in golden.cases]
        assert sum(account.quantity == 0 for account in accounts) >= 3
        assert sum(account.quantity > 0 for account in accounts) >= 10
        assert any(account.drawdown > 0.01 for account in accounts)


def test_bars_too_few_for_starts_apart_still_give_golden_decisions() -> None:
    short = TradingEnvironment(markets.engine(26), 2, EpisodeConfig(length=2))
    assert record(policy(), short, episodes=4, seed=1).cases
