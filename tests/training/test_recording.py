"""Golden decisions of the trainer: made from what its environment showed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlflow_ppo_flavor.contract.digest import sha256_hex
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.model.policy import ActorCritic
from tests.training import markets
from training.backtest import Engine
from training.config import EpisodeConfig, PPOConfig
from training.environment import TradingEnvironment
from training.ppo import initial_policy
from training.recording import CASES_AN_EPISODE, met_moments, record


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
