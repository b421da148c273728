"""ActorCritic: the native policy. One trunk, an actor head (logits of the spec's actions) and a critic head (value)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.breakage import breakages
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import ObservationError, SpecError

HIDDEN_DIMS = (512, 256, 128)
ACTIVATIONS: Mapping[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
_MAX_LAYERS, _MAX_WIDTH = 16, 65_536
_TRUNK_GAIN, _ACTOR_GAIN, _CRITIC_GAIN = math.sqrt(2.0), 0.01, 1.0


@dataclass(frozen=True, slots=True)
class Architecture:
    """How the network is built, apart from its spec: widths of the hidden layers and their activation."""

    hidden_dims: tuple[int, ...] = HIDDEN_DIMS
    activation: str = "tanh"

    def to_dict(self) -> dict[str, Any]:
        """The architecture as JSON values."""
        return {
            "class": "ActorCritic",
            "hidden_dims": list(self.hidden_dims),
            "activation": self.activation,
        }

    @classmethod
    def from_dict(cls, data: object, path: str = "architecture") -> Architecture:
        """Read an architecture; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, ("class", "hidden_dims", "activation"))
        parsing.take(read, "class", path, parsing.choice, of=("ActorCritic",))
        width = partial(parsing.sequence, read=parsing.integer, low=1, high=_MAX_WIDTH)
        hidden = parsing.take(read, "hidden_dims", path, width)
        if not 1 <= len(hidden) <= _MAX_LAYERS:
            place = parsing.join(path, "hidden_dims")
            raise SpecError(place, f"{len(hidden)} layers", f"1 to {_MAX_LAYERS} layers")
        return cls(hidden, parsing.take(read, "activation", path, parsing.choice, of=tuple(ACTIVATIONS)))


class ActorCritic(nn.Module):
    """A policy of `spec`: observations float32[n, obs_dim] → logits float32[n, n_actions], values float32[n].

    Weights start orthogonal with zero biases: gain √2 in the trunk, 0.01 in the actor, 1 in the critic (Huang et al.,
    "The 37 Implementation Details of Proximal Policy Optimization", ICLR blog track 2022, detail 2), from `generator`
    or torch's global one. `weights` are used as they are instead, none copied or initialised: see `check_weights`.
    SpecError for a spec, dimensions or an activation that can't be.
    """

    def __init__(
        self,
        spec: ModelSpec,
        hidden_dims: Sequence[int] = HIDDEN_DIMS,
        activation: str = "tanh",
        generator: torch.Generator | None = None,
        weights: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_spec(spec, "spec")
        # any sequence of whole numbers; what isn't one is refused with its path
        given: object = hidden_dims
        widths_given = list(given) if isinstance(given, Sequence) else given
        described = {"class": "ActorCritic", "hidden_dims": widths_given, "activation": activation}
        self.spec, self._architecture = spec, Architecture.from_dict(described)
        # nn.Linear would fill its weights with numbers that are overwritten at once
        linear: Callable[..., Any] = (
            partial(nn.utils.skip_init, nn.Linear) if weights is None else partial(nn.Linear, device="meta")
        )
        widths = (spec.obs_dim, *self._architecture.hidden_dims)
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers += [linear(width_in, width_out), ACTIVATIONS[activation]()]
        self.trunk = nn.Sequential(*layers)
        self.actor: nn.Linear = linear(widths[-1], spec.n_actions)
        self.critic: nn.Linear = linear(widths[-1], 1)
        if weights is None:
            self._initialise(generator)
        else:
            check_weights(self.state_dict(), weights, spec)
            self.load_state_dict(dict(weights), assign=True)

    @classmethod
    def from_architecture(
        cls, spec: ModelSpec, architecture: object, state_dict: Mapping[str, torch.Tensor]
    ) -> ActorCritic:
        """The policy that an `architecture` dict describes with the weights of `state_dict`, for inference.

        SpecError for an architecture that can't be read, and for weights that aren't those of spec and architecture.
        """
        read = Architecture.from_dict(architecture)
        return cls(spec, read.hidden_dims, read.activation, weights=state_dict).eval()

    @property
    def architecture(self) -> dict[str, Any]:
        """Class, hidden_dims and activation as JSON values: with the spec, all that rebuilds the network."""
        return self._architecture.to_dict()

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(logits [n, n_actions], values [n]) of observations [n, obs_dim] or [n, window, n_features]: tensors.

        ObservationError for another shape, another kind of number than the weights', and what isn't a tensor.
        """
        hidden = self.trunk(self._flat(observations))
        return self.actor(hidden), self.critic(hidden).squeeze(-1)

    def _initialise(self, generator: torch.Generator | None) -> None:
        gains = [(layer, _TRUNK_GAIN) for layer in self.trunk if isinstance(layer, nn.Linear)]
        for layer, gain in [*gains, (self.actor, _ACTOR_GAIN), (self.critic, _CRITIC_GAIN)]:
            nn.init.orthogonal_(layer.weight, gain, generator=generator)
            nn.init.zeros_(layer.bias)

    def _flat(self, observations: torch.Tensor) -> torch.Tensor:
        spec = self.spec
        if not isinstance(observations, torch.Tensor):
            raise ObservationError(
                f"observations: found {kind_of(observations)}, expected a torch.Tensor: give torch.from_numpy(array)"
            )
        shape, kind = observations.shape, self.critic.weight.dtype
        if observations.dtype == kind:
            if shape[1:] == (spec.obs_dim,):
                return observations
            if shape[1:] == (spec.window, spec.n_features):
                return observations.reshape(-1, spec.obs_dim)
        found = f"{str(observations.dtype).removeprefix('torch.')}{list(shape)}"
        allowed = f"[n, {spec.obs_dim}] or [n, {spec.window}, {spec.n_features}]"
        raise ObservationError(
            f"observations: found {found}, expected {str(kind).removeprefix('torch.')} of shape {allowed} "
            f"(spec {spec.version}): build them with build_observation"
        )


def check_weights(network: Mapping[str, torch.Tensor], weights: Mapping[str, Any], spec: ModelSpec) -> None:
    """Refuse `weights` that aren't those of `network`, a state dict: SpecError for the first that is missing, unknown,
    of another shape, or not dense float32 in memory; its path is `policy_state_dict.<name>`.
    """
    path = "policy_state_dict"
    remedy = (
        f"they aren't of spec {spec.version} (obs_dim {spec.obs_dim}, {spec.n_actions} actions) and this architecture"
    )
    for name, owed in network.items():
        place, found = parsing.join(path, name), weights.get(name)
        if not isinstance(found, torch.Tensor) or found.is_nested or found.is_meta:
            known = ", ".join(map(str, weights)) or "nothing"
            raise SpecError(place, "no tensor", f"a tensor {list(owed.shape)}", f"{remedy}: found {known}")
        if found.shape != owed.shape:
            raise SpecError(place, f"shape {list(found.shape)}", str(list(owed.shape)), remedy)
        if found.dtype != torch.float32 or found.layout != torch.strided:
            raise SpecError(place, f"{found.dtype}, {found.layout}", "dense torch.float32", "inference is always fp32")
    for name in weights:
        if name not in network:
            raise SpecError(parsing.join(path, str(name)), "an unknown weight", f"one of {', '.join(network)}", remedy)


def kind_of(value: object) -> str:
    """The name of a value's type, with its module where it isn't a built-in one: `numpy.ndarray`."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def check_spec(spec: object, path: str) -> None:
    """Refuse what isn't a ModelSpec: SpecError."""
    if not isinstance(spec, ModelSpec):
        raise SpecError(path, kind_of(spec), "a ModelSpec, such as MODEL_SPECS['2.7.0'].for_bars(...)")


def agreed_spec(own: ModelSpec, given: ModelSpec | None) -> ModelSpec:
    """The spec to store with a policy of spec `own`: `given` where it is the same contract, completed by bars at most.

    SpecError where they contradict each other.
    """
    whole = own if given is None else given
    check_spec(whole, "spec")
    check_same(replace(own, bars=whole.bars) if own.bars is None else own, whole, "spec")
    return whole


def check_same(own: ModelSpec, other: ModelSpec, path: str) -> None:
    """Refuse an `other` spec that promises another behaviour: SpecError that tells the first difference."""
    if own.fingerprint != other.fingerprint:
        breakage = breakages(own, other)[0]
        found = f"{breakage.place} {breakage.new}"
        raise SpecError(path, found, f"the policy's own {breakage.old}", "use the spec that the policy was trained for")
