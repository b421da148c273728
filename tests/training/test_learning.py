"""PPO on the generated mean-reverting series: it learns to buy low and sell high, on bars that it never saw too."""

from __future__ import annotations

import pytest

from mlflow_ppo_flavor.decision.market import Costs
from tests import tiers
from tests.training import markets
from training.backtest import Engine
from training.config import EpisodeConfig, PPOConfig
from training.environment import TradingEnvironment
from training.evaluator import Evaluation, evaluate, greedy, score
from training.ppo import PPOTrainer, initial_policy

STEPS = 40_000
LEARN_BARS, ALL_BARS = 2_000, 3_000


def clearly_better(found: Evaluation) -> None:
    """Beyond each random run, and by far beyond doing nothing and holding as much as it may itself."""
    policy, chance = score(found.policy), [score(backtest) for backtest in found.random]
    scores = found.scores
    assert policy.total_return > max(random.total_return for random in chance) + 0.02
    assert policy.sharpe > max(random.sharpe for random in chance) + 0.3
    assert policy.sharpe > 0.7
    assert policy.total_return > scores["do nothing"].total_return + 0.05
    assert policy.total_return > scores["hold 20%"].total_return + 0.05
    assert policy.win_rate > 0.7


@pytest.mark.parametrize("seed", tiers.SEEDS)
def test_learns_to_trade_a_mean_reverting_series(seed: int) -> None:
    bars, spec = markets.bars(ALL_BARS), markets.small_spec()
    learned_from = Engine.prepare(bars[:LEARN_BARS], spec, markets.INSTRUMENT, Costs())
    config = PPOConfig(
        total_timesteps=STEPS,
        num_steps=64,
        learning_rate=1e-3,
        gamma=0.9,
        gae_lambda=0.9,
        ent_coef=0.003,
        update_epochs=6,
        hidden_dims=(64, 64),
        seed=seed,
    )
    policy = initial_policy(spec, config)
    environment = TradingEnvironment(learned_from, config.num_envs, EpisodeConfig(length=64))
    metrics = list(PPOTrainer(policy, environment, config).updates())
    assert metrics[-1].mean_reward > metrics[0].mean_reward
    clearly_better(evaluate(learned_from, greedy(policy), equity=100_000.0))
    whole = Engine.prepare(bars, spec, markets.INSTRUMENT, Costs())
    clearly_better(evaluate(whole, greedy(policy), equity=100_000.0, start=LEARN_BARS))
