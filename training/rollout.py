"""Collecting experience: the protocol of a vectorised environment, the buffers of one rollout, and who fills them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.config import PPOConfig


@dataclass(frozen=True)
class EnvStep:
    """What one step of n environments answers.

    `observations` float32 [n, obs_dim] are those to act on next: of a new episode where one ended (autoreset in the
    same step). `rewards` float64 [n]; `terminated` and `truncated` bool [n]. `final_observations` float32
    [k, obs_dim] are the last ones of the k episodes that ended, in the environments' order: at a time limit the
    critic judges these.
    """

    observations: NDArray[np.float32]
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_observations: NDArray[np.float32]


class VectorEnvironment(Protocol):
    """n copies of one task, stepped together.

    `reset` starts all from one seed and answers observations [n, obs_dim]; `step` takes an action for each, [n].
    """

    @property
    def num_envs(self) -> int: ...  # noqa: D102
    @property
    def obs_dim(self) -> int: ...  # noqa: D102
    @property
    def n_actions(self) -> int: ...  # noqa: D102
    def reset(self, seed: int) -> NDArray[np.float32]: ...  # noqa: D102
    def step(self, actions: NDArray[np.int64]) -> EnvStep: ...  # noqa: D102


@dataclass(frozen=True)
class Rollout:
    """The buffers of one rollout, [num_steps, num_envs] each (observations: × obs_dim), on the policy's device."""

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    rewards: Tensor
    values: Tensor
    next_values: Tensor
    terminated: Tensor
    ended: Tensor

    @classmethod
    def empty(cls, config: PPOConfig, obs_dim: int) -> Rollout:
        """Buffers of the config's size, allocated once and filled again by every rollout."""
        shape, device = (config.num_steps, config.num_envs), torch.device(config.device)
        floats = [torch.zeros(shape, device=device) for _ in range(4)]
        flags = [torch.zeros(shape, dtype=torch.bool, device=device) for _ in range(2)]
        observations = torch.zeros((*shape, obs_dim), device=device)
        return cls(observations, torch.zeros(shape, dtype=torch.int64, device=device), *floats, *flags)


@dataclass(frozen=True)
class Episodes:
    """The episodes that ended in one rollout: the sum of each one's rewards, and its steps."""

    returns: tuple[float, ...]
    lengths: tuple[int, ...]


class Collector:
    """Steps an environment with a policy, rollout after rollout, and keeps the running episodes between them."""

    def __init__(
        self, environment: VectorEnvironment, rollout: Rollout, *, seed: int, generator: torch.Generator
    ) -> None:
        self.environment, self.rollout, self.generator = environment, rollout, generator
        self._device = rollout.observations.device
        self._observations = torch.from_numpy(environment.reset(seed)).to(self._device)
        self._returns = np.zeros(environment.num_envs)
        self._lengths = np.zeros(environment.num_envs, dtype=np.int64)

    @torch.no_grad()
    def collect(self, policy: nn.Module) -> Episodes:
        """Fill the rollout by acting with `policy` (its actions sampled); answer the episodes that ended."""
        buffers, ended = self.rollout, Episodes((), ())
        for step in range(len(buffers.rewards)):
            logits, values = policy(self._observations)
            actions = torch.multinomial(logits.softmax(-1), 1, generator=self.generator)
            buffers.observations[step] = self._observations
            buffers.actions[step] = actions.squeeze(-1)
            buffers.log_probs[step] = logits.log_softmax(-1).gather(-1, actions).squeeze(-1)
            buffers.values[step] = values
            ended = self._advance(policy, step, actions, ended)
        buffers.next_values[-1] = torch.where(buffers.ended[-1], buffers.next_values[-1], policy(self._observations)[1])
        following = torch.where(buffers.ended[:-1], buffers.next_values[:-1], buffers.values[1:])
        buffers.next_values[:-1] = following
        return ended

    def _advance(self, policy: nn.Module, step: int, actions: Tensor, so_far: Episodes) -> Episodes:
        """One environment step into the buffers; where an episode ended, the value of its final observation too."""
        answer, buffers = self.environment.step(actions.squeeze(-1).cpu().numpy()), self.rollout
        ended = answer.terminated | answer.truncated
        buffers.rewards[step] = torch.from_numpy(answer.rewards)
        buffers.terminated[step] = torch.from_numpy(answer.terminated)
        buffers.ended[step] = torch.from_numpy(ended)
        self._observations = torch.from_numpy(answer.observations).to(self._device)
        self._returns += answer.rewards
        self._lengths += 1
        if not ended.any():
            return so_far
        final = torch.from_numpy(answer.final_observations).to(self._device)
        buffers.next_values[step, torch.from_numpy(ended).to(self._device)] = policy(final)[1]
        return self._close(ended, so_far)

    def _close(self, ended: NDArray[np.bool_], so_far: Episodes) -> Episodes:
        """Count the episodes that ended, and start their environments' sums anew."""
        returns = so_far.returns + tuple(self._returns[ended].tolist())
        lengths = so_far.lengths + tuple(self._lengths[ended].tolist())
        self._returns[ended], self._lengths[ended] = 0.0, 0
        return Episodes(returns, lengths)
