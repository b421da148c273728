"""Architecture: how a native policy's network is built, apart from its spec. Kept as JSON beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.errors import SpecError

CLASS = "ActorCritic"
HIDDEN_DIMS = (512, 256, 128)
ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
    "selu": nn.SELU,
    "hardtanh": nn.Hardtanh,
}
"""Activations by the name that is stored, each with torch's defaults."""
_KEYS = ("class", "hidden_dims", "activation", "actor_dims", "critic_dims", "normalisation")
_MOST_LAYERS, _MOST_WIDTH = 16, 65_536
_CLIPS = {"low": 1e-6, "high": 3e38}


@dataclass(frozen=True, slots=True)
class Architecture:
    """Widths of the hidden layers, shared (`hidden_dims`) and then each head's own, and the activation after each.

    `clip` is None where observations enter as they are; otherwise they are normalised first, with means and scales that
    lie among the weights, and clipped to [-clip, clip].
    """

    hidden_dims: tuple[int, ...] = HIDDEN_DIMS
    activation: str = "tanh"
    actor_dims: tuple[int, ...] = ()
    critic_dims: tuple[int, ...] = ()
    clip: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The architecture as JSON values; what the plainest network doesn't have is left out."""
        heads = {"actor_dims": list(self.actor_dims), "critic_dims": list(self.critic_dims)}
        normalisation = {} if self.clip is None else {"normalisation": {"clip": self.clip}}
        return {
            "class": CLASS,
            "hidden_dims": list(self.hidden_dims),
            "activation": self.activation,
            **{name: dims for name, dims in heads.items() if dims},
            **normalisation,
        }

    @classmethod
    def from_dict(cls, data: object, path: str = "architecture") -> Architecture:
        """Read an architecture; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, _KEYS)
        parsing.take(read, "class", path, parsing.choice, of=(CLASS,))
        return cls(
            hidden_dims=parsing.take(read, "hidden_dims", path, _dims),
            activation=parsing.take(read, "activation", path, parsing.choice, of=tuple(ACTIVATIONS)),
            actor_dims=parsing.take(read, "actor_dims", path, _dims, default=()),
            critic_dims=parsing.take(read, "critic_dims", path, _dims, default=()),
            clip=parsing.take(read, "normalisation", path, _clip, default=None),
        )


_width = partial(parsing.integer, low=1, high=_MOST_WIDTH)


def _dims(value: object, path: str) -> tuple[int, ...]:
    dims = parsing.sequence(value, path, _width)
    if len(dims) > _MOST_LAYERS:
        raise SpecError(path, f"{len(dims)} layers", f"at most {_MOST_LAYERS}")
    return dims


def _clip(value: object, path: str) -> float:
    return parsing.take(parsing.mapping(value, path, ("clip",)), "clip", path, parsing.number, **_CLIPS)
