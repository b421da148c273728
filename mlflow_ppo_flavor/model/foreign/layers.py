"""Layers: the linear layers of a foreign network, read as a trunk and two heads, and our network with their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.model.foreign.fault import ONNX, fault
from mlflow_ppo_flavor.model.foreign.vec_normalize import Statistics
from mlflow_ppo_flavor.model.policy import ActorCritic

PLACE = "policy_state_dict"


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer by its foreign name: weight [leaving, entering], bias [leaving] or None where it has none."""

    name: str
    weight: torch.Tensor
    bias: torch.Tensor | None = None

    @property
    def entering(self) -> int:
        """How many numbers it takes."""
        return int(self.weight.shape[1])

    @property
    def leaving(self) -> int:
        """How many numbers it makes."""
        return int(self.weight.shape[0])

    def __str__(self) -> str:
        """`fc1 (300 → 64)`."""
        return f"{self.name} ({self.entering} → {self.leaving})"


@dataclass(frozen=True, eq=False)
class Layers:
    """The one way to read a network: `trunk`, then `actor` and `critic`, each in the order in which it is computed.

    An activation follows every layer but the last of each head: weights don't show where a network has none.
    """

    trunk: tuple[Layer, ...]
    actor: tuple[Layer, ...]
    critic: tuple[Layer, ...]

    def __str__(self) -> str:
        """`trunk fc1 (300 → 64); actor pi (64 → 7); critic v (64 → 1)`."""
        parts = (("trunk", self.trunk), ("actor", self.actor), ("critic", self.critic))
        return "; ".join(f"{part} {', '.join(map(str, layers)) or 'empty'}" for part, layers in parts)

    def breaks(self) -> Iterator[Finding]:
        """A finding for a head without a layer, and for each layer that doesn't take what the one before it makes."""
        for part, layers in (("actor", self.actor), ("critic", self.critic)):
            if not layers:
                yield fault(PLACE, f"no {part}", "layers of an actor and of a critic", ONNX)
            for before, after in pairwise((*self.trunk, *layers)):
                if before.leaving != after.entering:
                    expected = f"{before.leaving} numbers, as {before} makes"
                    yield fault(f"{PLACE}.{after.name}", str(after), expected, "they don't follow each other")

    def network(self, spec: ModelSpec, activation: str, statistics: Statistics | None = None) -> ActorCritic:
        """Our network with these weights in float32, for inference, behind the normalisation that is given.

        SpecError where they aren't of `spec`.
        """
        weights = dict(self._weights())
        if statistics is not None:
            weights |= {"normalisation.mean": statistics.mean, "normalisation.scale": statistics.scale}
        return ActorCritic(
            spec,
            hidden_dims=[layer.leaving for layer in self.trunk],
            activation=activation,
            actor_dims=[layer.leaving for layer in self.actor[:-1]],
            critic_dims=[layer.leaving for layer in self.critic[:-1]],
            normalisation=None if statistics is None else {"clip": statistics.clip},
            weights=weights,
        ).eval()

    def _weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Our names and the weights: in a Sequential, an activation stands between two layers."""
        parts: Mapping[str, tuple[Layer, ...]] = {"trunk": self.trunk, "actor": self.actor, "critic": self.critic}
        for part, layers in parts.items():
            for i, layer in enumerate(layers):
                name = part if part != "trunk" and len(layers) == 1 else f"{part}.{2 * i}"
                bias = torch.zeros(layer.leaving) if layer.bias is None else layer.bias
                yield f"{name}.weight", layer.weight.detach().float().contiguous()
                yield f"{name}.bias", bias.detach().float().contiguous()
