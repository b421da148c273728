"""Small real environments and policies whose right answers are known."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.rollout import EnvStep


class SmallPolicy(nn.Module):
    """One hidden layer, two heads: the forward signature of every policy that PPO trains. Weights come from `seed`."""

    def __init__(self, obs_dim: int, n_actions: int, seed: int, width: int = 32) -> None:
        super().__init__()
        self.trunk, self.actor, self.critic = (
            nn.Linear(obs_dim, width),
            nn.Linear(width, n_actions),
            nn.Linear(width, 1),
        )
        generator = torch.Generator().manual_seed(seed)
        for layer, gain in ((self.trunk, 2**0.5), (self.actor, 0.01), (self.critic, 1.0)):
            nn.init.orthogonal_(layer.weight, gain, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [n, n_actions] and values [n]."""
        hidden = torch.tanh(self.trunk(observations))
        return self.actor(hidden), self.critic(hidden).squeeze(-1)


class Identity:
    """Observe a one-hot target, act equal to it: reward 1, else 0. The best return is the episode's length."""

    def __init__(self, num_envs: int = 8, n_actions: int = 4, length: int = 16) -> None:
        self.num_envs, self.n_actions, self.obs_dim, self.length = num_envs, n_actions, n_actions, length

    def reset(self, seed: int) -> NDArray[np.float32]:
        """New targets from `seed`."""
        self._random, self._age = np.random.default_rng(seed), 0
        return self._draw()

    def step(self, actions: NDArray[np.int64]) -> EnvStep:
        """Reward what is equal, draw new targets; all episodes end together, by time."""
        rewards = (actions == self._targets).astype(np.float64)
        self._age += 1
        over = np.full(self.num_envs, self._age % self.length == 0)
        final = self._draw()
        following = self._draw() if over[0] else final
        return EnvStep(following, rewards, np.zeros(self.num_envs, dtype=bool), over, final[over])

    def _draw(self) -> NDArray[np.float32]:
        self._targets = self._random.integers(self.n_actions, size=self.num_envs)
        return np.eye(self.n_actions, dtype=np.float32)[self._targets]


class Counting:
    """Observation = steps into the episode, as [age]; reward 1 a step; ends at `length` by a terminal state or by time.

    Environment i starts at age i, so that they end at different steps. Actions change nothing. A `blind` one shows 0.
    """

    def __init__(self, num_envs: int, length: int, *, terminal: bool, blind: bool = False) -> None:
        self._shown, self.num_envs, self.length, self.terminal, self.n_actions, self.obs_dim = (
            0 if blind else 1,
            num_envs,
            length,
            terminal,
            2,
            1,
        )

    def reset(self, seed: int) -> NDArray[np.float32]:
        """Ages i modulo the length; nothing is random, the seed is only kept."""
        self.seed, self._ages = seed, np.arange(self.num_envs) % self.length
        return self._look(self._ages)

    def step(self, actions: NDArray[np.int64]) -> EnvStep:
        """Everyone is a step older; who reaches the length ends and is 0 again."""
        assert actions.shape == (self.num_envs,)
        self._ages += 1
        over = self._ages == self.length
        final = self._look(self._ages[over])
        self._ages[over] = 0
        no = np.zeros_like(over)
        flags = (over, no) if self.terminal else (no, over)
        return EnvStep(self._look(self._ages), np.ones(self.num_envs), *flags, final)

    def _look(self, ages: NDArray[np.int64]) -> NDArray[np.float32]:
        return (self._shown * ages[:, None]).astype(np.float32)
