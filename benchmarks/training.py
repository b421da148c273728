"""How much an update of the trainer adds to the arithmetic of its network. Run: python -m benchmarks.training

Beside it, in turns: the same network alone, plainly in torch, on random numbers: as many forward passes as a rollout
has steps, and as many gradient steps of the same size, with clipping and Adam. What is left is ours: environment,
features' windows, rollout, advantages, loss and metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.turns import by_turns, one_thread
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.market import Costs
from training.backtest import Engine
from training.config import EpisodeConfig, PPOConfig
from training.environment import TradingEnvironment
from training.ppo import PPOTrainer, initial_policy
from training.series import demo_bars

LIMIT = 1.3
ROUNDS = 5
CONFIG = PPOConfig(total_timesteps=20 * 2048)


@dataclass(frozen=True)
class Update:
    """Least seconds of one update, and of its network's arithmetic alone."""

    trainer: float
    plain: float

    @property
    def ratio(self) -> float:
        """How many times as long ours takes."""
        return self.trainer / self.plain

    @property
    def report(self) -> str:
        """Both, and how they compare."""
        speed = CONFIG.batch_size / self.trainer
        return (
            f"\none update of {CONFIG.batch_size} steps, the released network, one thread, least of {ROUNDS} (s):\n"
            f"  the trainer            {self.trainer:6.2f}   {speed:,.0f} steps a second\n"
            f"  the network plainly    {self.plain:6.2f}   ours is {self.ratio:.2f} ×   limit {LIMIT}\n"
        )


def trainer_update() -> Callable[[], object]:
    """The next update of a trainer on the demo's bars."""
    spec = MODEL_SPECS["2.7.0"].for_bars(timeframe="1Day", adjustment="all", symbols=["AAPL"])
    engine = Engine.prepare(demo_bars("AAPL"), spec, Instrument.equity("AAPL"), Costs())
    environment = TradingEnvironment(engine, CONFIG.num_envs, EpisodeConfig())
    updates = PPOTrainer(initial_policy(spec, CONFIG), environment, CONFIG).updates()
    return lambda: next(updates)


def plain_update() -> Callable[[], object]:
    """The same network's forward passes and gradient steps, on random numbers."""
    policy = initial_policy(MODEL_SPECS["2.7.0"], CONFIG)
    optimizer = torch.optim.Adam(policy.parameters(), lr=CONFIG.learning_rate, eps=1e-5, fused=True)
    few, many = (torch.randn(n, policy.spec.obs_dim) for n in (CONFIG.num_envs, CONFIG.minibatch_size))

    def update() -> None:
        with torch.no_grad():
            for _ in range(CONFIG.num_steps):
                policy(few)
        for _ in range(CONFIG.update_epochs * CONFIG.num_minibatches):
            logits, values = policy(many)
            optimizer.zero_grad()
            (logits.logsumexp(-1).mean() + values.square().mean()).backward()
            nn.utils.clip_grad_norm_(policy.parameters(), CONFIG.max_grad_norm)
            optimizer.step()

    return update


def time_update() -> Update:
    """Both, in turns."""
    with one_thread():
        taken = by_turns({"trainer": trainer_update(), "plain": plain_update()}, rounds=ROUNDS)
    return Update(**taken)


if __name__ == "__main__":
    print(time_update().report)
