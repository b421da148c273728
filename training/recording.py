"""Golden decisions that the trainer records: moments that its own environment produced, under the trained policy."""

from __future__ import annotations

import numpy as np
import torch

from mlflow_ppo_flavor.model.golden import record_cases
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.proof import Golden
from training.environment import Moment, TradingEnvironment

CASES_AN_EPISODE = 6


@torch.no_grad()
def met_moments(policy: ActorCritic, environment: TradingEnvironment, seed: int) -> list[Moment]:
    """Moments of one new episode in each of the environment's places, spread evenly over it; the policy acts, sampled.

    Sampled rather than greedy, so that accounts differ: flat, part and fully invested, winning and losing.
    """
    device, length = next(policy.parameters()).device, environment.task.episode.length
    keep = {round(age) for age in np.linspace(0, length - 1, CASES_AN_EPISODE)}
    generator = torch.Generator(device).manual_seed(seed)
    observations, running = environment.reset(seed), np.ones(environment.num_envs, dtype=bool)
    met: list[Moment] = []
    for age in range(length):
        if age in keep:
            met += [moment for moment, runs in zip(environment.moments, running, strict=True) if runs]
        logits, _ = policy(torch.from_numpy(observations).to(device))
        actions = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)
        answer = environment.step(actions.cpu().numpy())
        observations, running = answer.observations, running & ~(answer.terminated | answer.truncated)
    return met


def record(policy: ActorCritic, environment: TradingEnvironment, *, episodes: int = 4, seed: int) -> Golden:
    """Golden decisions of the policy from `episodes` new episodes over the environment's bars; it stays as it is.

    The same policy, bars and seed give the same golden decisions. SpecError where the policy's spec has no bars.
    """
    task = environment.task
    met = met_moments(policy, TradingEnvironment(task.engine, episodes, task.episode), seed)
    return record_cases(policy, task.engine.bars, [(moment.bar, moment.state) for moment in met])
