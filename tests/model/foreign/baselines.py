"""Real PPO models of stable-baselines3 on a small spec, saved as their users save them, and what they answer."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from tests.training.markets import small_spec

SPEC = replace(small_spec(), bars=None, symbols=())
"""obs_dim 50 and 7 actions, as somebody writes it down for models of elsewhere: its bars are told otherwise."""
ACTIONS = gymnasium.spaces.Discrete(SPEC.n_actions)
Answers = tuple[np.ndarray, np.ndarray, np.ndarray]


class Market(gymnasium.Env[np.ndarray, np.int64]):
    """Random observations whose numbers have means and spreads of their own; the first number never varies."""

    def __init__(self, shape: tuple[int, ...] = (SPEC.obs_dim,), actions: gymnasium.Space[Any] = ACTIONS) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32)
        self.action_space = actions
        self.chance = np.random.default_rng(0)

    def reset(self, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        return self.look(), {}

    def step(self, action: object) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self.look(), 0.0, False, False, {}

    def look(self) -> np.ndarray:
        size = int(np.prod(self.observation_space.shape))
        seen = self.chance.normal(np.linspace(-1, 3, size), np.linspace(0, 2, size))
        return seen.reshape(self.observation_space.shape).astype(np.float32)


def model(env: Any = None, policy: str | type[ActorCriticPolicy] = "MlpPolicy", **options: Any) -> PPO:
    """A model whose weights are none of an initialisation: biases too are random, and logits lie apart."""
    made = PPO(policy, env or Market(), policy_kwargs=options or None, n_steps=8, batch_size=8, device="cpu")
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in made.policy.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance) * 0.2)
    return made


def normalised(steps: int = 64, **options: Any) -> VecNormalize:
    """An environment of which VecNormalize has seen some observations; it learns no more."""
    env = VecNormalize(DummyVecEnv([Market]), **options)
    env.reset()
    for _ in range(steps):
        env.step(np.zeros(1, dtype=np.int64))
    env.training = False
    return env


def observations(n: int = 64) -> np.ndarray:
    """float32[n, obs_dim], a few of them far out."""
    seen = np.random.default_rng(1).normal(0, 2, (n, SPEC.obs_dim)).astype(np.float32)
    seen[::8] *= 1_000
    return seen


def answers(model: PPO, observations: np.ndarray) -> Answers:
    """What a model makes of observations: the action net's own output, log-probabilities, values."""
    raw: list[torch.Tensor] = []
    handle = model.policy.action_net.register_forward_hook(lambda module, given, made: raw.append(made))
    seen = torch.from_numpy(observations)
    with torch.no_grad():
        logits = model.policy.get_distribution(seen).distribution.logits
        values = model.policy.predict_values(seen)[:, 0]
    handle.remove()
    return raw[0].numpy(), logits.numpy(), values.numpy()


def saved(model: PPO, path: Path) -> str:
    """The path of the model, saved there."""
    model.save(path)
    return str(path)


def rewritten(path: str, change: Callable[[dict[str, Any]], None]) -> str:
    """The same archive with other text in its `data`: what another version, or somebody, would have written."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(members["data"])
    change(data)
    members["data"] = json.dumps(data).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path
