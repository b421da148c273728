"""Golden decisions that the trainer records: moments that its own environment produced, under the trained policy."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mlflow_ppo_flavor.model.golden import record_cases
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.proof import Golden
from training.environment import Moment, TradingEnvironment

CASES_AN_EPISODE = 6
_TRIES = 200


@torch.no_grad()
def met_moments(policy: ActorCritic, environment: TradingEnvironment, seed: int) -> list[Moment]:
    """Moments of one new episode in each of the environment's places, spread evenly over it; the policy acts, sampled.

    Sampled rather than greedy, so that accounts differ: flat, part and fully invested, winning and losing. Episodes
    start in stretches of the bars that differ, so that regimes do.
    """
    device, length = next(policy.parameters()).device, environment.task.episode.length
    keep = {round(age) for age in np.linspace(0, length - 1, CASES_AN_EPISODE)}
    generator = torch.Generator(device).manual_seed(seed)
    observations, running = _reset_apart(environment, seed), np.ones(environment.num_envs, dtype=bool)
    met: list[Moment] = []
    for age in range(length):
        if age in keep:
            met += [moment for moment, runs in zip(environment.moments, running, strict=True) if runs]
        logits, _ = policy(torch.from_numpy(observations).to(device))
        actions = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)
        answer = environment.step(actions.cpu().numpy())
        observations, running = answer.observations, running & ~(answer.terminated | answer.truncated)
    return met


def _reset_apart(environment: TradingEnvironment, seed: int) -> NDArray[np.float32]:
    """New episodes by the first of the seeds derived from `seed` with which each starts in a stretch of its own, where
    the bars are cut into as many as there are episodes; by the last one that was tried where none does.
    """
    engine, places = environment.task.engine, environment.num_envs
    starts = len(engine.bars) - 1 - engine.first
    for derived in np.random.SeedSequence(seed).generate_state(_TRIES):
        observations = environment.reset(int(derived))
        if len({(moment.bar - engine.first) * places // starts for moment in environment.moments}) == places:
            break
    return observations


def record(policy: ActorCritic, environment: TradingEnvironment, *, episodes: int = 4, seed: int) -> Golden:
    """Golden decisions of the policy from `episodes` new episodes over the environment's bars; it stays as it is.

    The same policy, bars and seed give the same golden decisions. SpecError where the policy's spec has no bars.
    """
    task = environment.task
    met = met_moments(policy, TradingEnvironment(task.engine, episodes, task.episode), seed)
    return record_cases(policy, task.engine.bars, [(moment.bar, moment.state) for moment in met])
