"""Torch modules of other people's classes, small, as `log_model(module, spec=…)` gets them."""

from functools import cache

import torch
from torch import nn

from mlflow_ppo_flavor.model.onnx_export import export_module
from mlflow_ppo_flavor.model.onnx_policy import OnnxPolicy
from tests.model.policies import SPEC

LOUD = 20.0


class ConvolvedActor(nn.Module):
    """Logits alone: a convolution over the window, normalised layers, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv1d(SPEC.n_features, 8, kernel_size=2)
        self.body = nn.Sequential(nn.BatchNorm1d(24), nn.Dropout(0.5), nn.Mish(), nn.Linear(24, SPEC.n_actions))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        windows = x.reshape(-1, SPEC.window, SPEC.n_features).transpose(1, 2)
        logits: torch.Tensor = LOUD * self.body(self.mix(windows).flatten(1))
        return logits


class AttentiveActorCritic(nn.Module):
    """Logits and values [n, 1], by what the last bar finds among the window's bars."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(SPEC.n_features)
        self.actor, self.critic = nn.Linear(SPEC.n_features, SPEC.n_actions), nn.Linear(SPEC.n_features, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bars = self.norm(x.reshape(-1, SPEC.window, SPEC.n_features))
        weights = torch.softmax(bars @ bars[:, -1:].transpose(1, 2), dim=1)
        found = (weights * bars).sum(1)
        return LOUD * self.actor(found), self.critic(found)


def seeded(kind: type[nn.Module]) -> nn.Module:
    """A module whose weights are the same ones each time; torch's global generator stays as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind().train()


@cache
def actor_module() -> nn.Module:
    """The module without a critic that most tests share."""
    return seeded(ConvolvedActor)


@cache
def actor_policy() -> OnnxPolicy:
    """The same, exported."""
    return export_module(actor_module(), SPEC)


@cache
def critic_module() -> nn.Module:
    """The module with a critic that most tests share."""
    return seeded(AttentiveActorCritic)


@cache
def critic_policy() -> OnnxPolicy:
    """The same, exported."""
    return export_module(critic_module(), SPEC)
