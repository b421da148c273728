"""One training job: from bars and a config to a trained policy in a checkpoint with its golden decisions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.checkpoint import save_checkpoint
from mlflow_ppo_flavor.model.policy import ActorCritic
from training.backtest import Engine
from training.config import EpisodeConfig, PPOConfig
from training.environment import TradingEnvironment
from training.ppo import PPOTrainer, UpdateMetrics, initial_policy
from training.publish import TrackedRun, describe
from training.recording import record


def train(
    engine: Engine,
    config: PPOConfig,
    episode: EpisodeConfig,
    checkpoint: Path,
    *,
    tracked: TrackedRun | None = None,
    on_update: Callable[[UpdateMetrics], None] = lambda _: None,
) -> ActorCritic:
    """Train on the engine's bars, record golden decisions, write the checkpoint; answer the policy, ready to act.

    Each update is logged to `tracked`, where one is given, and then handed to `on_update`. TrainingDiverged where
    gradients blow up; CheckpointError, before the work if its folder is missing, where the file can't be written.
    """
    if not checkpoint.parent.is_dir():
        raise CheckpointError(f"{checkpoint}: found no folder {checkpoint.parent}, expected one to write it into")
    policy, environment = initial_policy(engine.spec, config), TradingEnvironment(engine, config.num_envs, episode)
    trainer = PPOTrainer(policy, environment, config)
    for metrics in trainer.updates() if tracked is None else tracked.follow(trainer.updates()):
        on_update(metrics)
    policy.eval()
    save_checkpoint(
        checkpoint,
        policy,
        optimizer=trainer.optimizer,
        global_step=trainer.global_step,
        config=describe(engine, config, episode),
        spec=engine.spec,
        golden=record(policy, environment, seed=config.seeds.recording),
    )
    return policy
