"""Generalised advantage estimation, right at terminations and at truncations."""

from __future__ import annotations

import torch
from torch import Tensor


def estimate_advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    ended: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """GAE(γ, λ): A_t = δ_t + γλ(1 - ended_t) A_{t+1}, with δ_t = r_t + γ(1 - terminated_t) V(s'_t) - V(s_t).

    All tensors are [steps, envs], of one float type as the answer; `terminated` and `ended` (terminated or
    truncated) are bool. `next_values` is the value of the state that step t really led to: at a truncation that of
    the episode's final observation, not of the next episode's first one (Pardo et al. 2018, "Time Limits in
    Reinforcement Learning").
    Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized
    Advantage Estimation", equation 16.
    """
    goes_on = gae_lambda * gamma * (~ended).to(rewards.dtype)
    deltas = rewards + gamma * next_values * (~terminated).to(rewards.dtype) - values
    advantages = torch.empty_like(deltas)
    following = torch.zeros_like(deltas[0])
    for step in range(len(deltas) - 1, -1, -1):
        following = deltas[step] + goes_on[step] * following
        advantages[step] = following
    return advantages


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns): 1 for a perfect critic, 0 for one that predicts the mean.

    NaN where the returns don't vary.
    """
    variance = returns.double().var(correction=0)
    left = (returns.double() - values.double()).var(correction=0)
    return float(1.0 - left / variance) if variance > 0 else float("nan")
