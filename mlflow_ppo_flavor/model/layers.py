"""Layers: the parts that a native network is built of, without a spec."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from mlflow_ppo_flavor.model.architecture import ACTIVATIONS
from mlflow_ppo_flavor.model.hashed_file import ALIGNMENT


class Normalisation(nn.Module):
    """Observations → clip((observation − mean) / scale, −clip, clip), in float64, rounded once to float32.

    `mean` and `scale` are float64[obs_dim]; with scale √(variance + ε) it is what stable-baselines3's VecNormalize
    computes, to the bit. Both stand still: training doesn't change them.
    """

    def __init__(self, obs_dim: int, clip: float, device: str | None = None) -> None:
        super().__init__()
        self.clip = clip
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("mean", torch.zeros(obs_dim, dtype=torch.float64, device=device))
        self.register_buffer("scale", torch.ones(obs_dim, dtype=torch.float64, device=device))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Normalised observations [n, obs_dim], float32, of observations [n, obs_dim]."""
        return ((observations.double() - self.mean) / self.scale).clamp(-self.clip, self.clip).float()


def _linear(entering: int, leaving: int, device: str) -> nn.Module:
    """A linear layer, its weights not initialised: nn.Linear would fill them with numbers, overwritten at once."""
    if device == "meta":
        return nn.Linear(entering, leaving, device=device)
    layer: nn.Module = nn.utils.skip_init(nn.Linear, entering, leaving, device=device)
    return layer


def layers(widths: Sequence[int], activation: str, device: str) -> list[nn.Module]:
    """A linear layer and an activation for each step between `widths`."""
    linear = partial(_linear, device=device)
    pairs = [(linear(entering, leaving), ACTIVATIONS[activation]()) for entering, leaving in pairwise(widths)]
    return [layer for pair in pairs for layer in pair]


def head(widths: Sequence[int], outputs: int, activation: str, device: str) -> nn.Module:
    """Layers between `widths`, then the output: a Sequential, or the output layer alone."""
    output = _linear(widths[-1], outputs, device)
    hidden = layers(widths, activation, device)
    return nn.Sequential(*hidden, output) if hidden else output


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, or a copy of it where it doesn't begin at a multiple of ALIGNMENT bytes, as torch's own tensors do.

    BLAS sums in another order at other addresses: the last bits of what it gives differ.
    """
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()
