"""How fast the trainer is; run by `make bench` on a machine that does nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.market import Costs
from training.backtest import Engine
from training.config import EpisodeConfig, PPOConfig
from training.environment import TradingEnvironment
from training.ppo import PPOTrainer, initial_policy
from training.series import demo_bars

STEPS_A_SECOND = 1_500


@pytest.fixture
def two_threads() -> Iterator[None]:
    """What wide layers gain from; the other training tests use one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.bench
@pytest.mark.usefixtures("two_threads")
def test_steps_a_second_of_the_released_network() -> None:
    spec = MODEL_SPECS["2.7.0"].for_bars(timeframe="1Day", adjustment="all", symbols=["AAPL"])
    engine = Engine.prepare(demo_bars("AAPL"), spec, Instrument.equity("AAPL"), Costs())
    config = PPOConfig(total_timesteps=5 * 2048)
    environment = TradingEnvironment(engine, config.num_envs, EpisodeConfig())
    speeds = [m.steps_per_second for m in PPOTrainer(initial_policy(spec, config), environment, config).updates()]
    assert sorted(speeds)[2] >= STEPS_A_SECOND, f"steps a second of five updates: {speeds}"
