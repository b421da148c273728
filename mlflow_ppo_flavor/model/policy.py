"""ActorCritic: the native policy. One trunk, an actor head (logits of the spec's actions) and a critic head (value)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.breakage import breakages
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import ObservationError, SpecError
from mlflow_ppo_flavor.model.architecture import CLASS, HIDDEN_DIMS, Architecture
from mlflow_ppo_flavor.model.layers import Normalisation, aligned, head, layers

Float32 = npt.NDArray[np.float32]
_HIDDEN_GAIN, _ACTOR_GAIN, _CRITIC_GAIN = math.sqrt(2.0), 0.01, 1.0


class ActorCritic(nn.Module):
    """A policy of `spec`: observations float32[n, obs_dim] → logits float32[n, n_actions], values float32[n].

    A trunk of layers `hidden_dims`, then the actor and the critic, each with layers of its own where `actor_dims` and
    `critic_dims` say so. `normalisation`, such as {"clip": 10.0}, puts a Normalisation before them.
    Weights start orthogonal with zero biases: gain √2 in hidden layers, 0.01 in the actor's last, 1 in the critic's
    (Huang et al., "The 37 Implementation Details of Proximal Policy Optimization", ICLR blog track 2022, detail 2),
    from `generator` or torch's global one. `weights` are used as they are instead, none initialised, and copied only
    where they aren't aligned: see `check_weights`. SpecError for a spec, dimensions, an activation or a normalisation
    that can't be.
    """

    def __init__(
        self,
        spec: ModelSpec,
        hidden_dims: Sequence[int] = HIDDEN_DIMS,
        activation: str = "tanh",
        generator: torch.Generator | None = None,
        weights: Mapping[str, torch.Tensor] | None = None,
        actor_dims: Sequence[int] = (),
        critic_dims: Sequence[int] = (),
        normalisation: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        check_spec(spec, "spec")
        dims = {"hidden_dims": hidden_dims, "actor_dims": actor_dims, "critic_dims": critic_dims}
        described = {"class": CLASS, "activation": activation, **{name: _listed(given) for name, given in dims.items()}}
        if normalisation is not None:
            described["normalisation"] = normalisation
        self.spec, self._architecture = spec, Architecture.from_dict(described)
        self._build("cpu" if weights is None else "meta")
        if weights is None:
            self._initialise(generator)
        else:
            check_weights(self.state_dict(), weights, spec)
            self.load_state_dict({name: aligned(tensor) for name, tensor in weights.items()}, assign=True)

    def _build(self, device: str) -> None:
        """The layers, their weights not initialised; on the device `meta` they have none yet."""
        built = self._architecture
        if built.clip is not None:
            self.normalisation = Normalisation(self.spec.obs_dim, built.clip, device)
        self.trunk = nn.Sequential(*layers((self.spec.obs_dim, *built.hidden_dims), built.activation, device))
        width = (self.spec.obs_dim, *built.hidden_dims)[-1]
        self.actor = head((width, *built.actor_dims), self.spec.n_actions, built.activation, device)
        self.critic = head((width, *built.critic_dims), 1, built.activation, device)

    @classmethod
    def from_architecture(
        cls, spec: ModelSpec, architecture: object, state_dict: Mapping[str, torch.Tensor]
    ) -> ActorCritic:
        """The policy that an `architecture` dict describes with the weights of `state_dict`, for inference.

        SpecError for an architecture that can't be read, and for weights that aren't those of spec and architecture.
        """
        given = {key: value for key, value in Architecture.from_dict(architecture).to_dict().items() if key != "class"}
        return cls(spec, **given, weights=state_dict).eval()

    @property
    def architecture(self) -> dict[str, Any]:
        """The Architecture as JSON values: with the spec and the weights, all that rebuilds the network."""
        return self._architecture.to_dict()

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(logits [n, n_actions], values [n]) of observations [n, obs_dim] or [n, window, n_features]: tensors.

        ObservationError for another shape, another kind of number than the weights', and what isn't a tensor.
        """
        seen = self._flat(observations)
        hidden = self.trunk(seen if self._architecture.clip is None else self.normalisation(seen))
        return self.actor(hidden), self.critic(hidden).squeeze(-1)

    @property
    def has_critic(self) -> bool:
        """Always: its values are numbers."""
        return True

    def infer(self, observations: Float32) -> tuple[Float32, Float32]:
        """(logits, values) of observations float32[n, obs_dim] in fp32, autocast and gradients off: see `infer`."""
        device = self._weight.device
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            logits, values = self(aligned(torch.from_numpy(observations).to(device)))
            return logits.cpu().numpy(), values.cpu().numpy()

    @property
    def _weight(self) -> torch.Tensor:
        """One weight, whose device and kind are those of all."""
        return cast("torch.Tensor", (self.critic[-1] if isinstance(self.critic, nn.Sequential) else self.critic).weight)

    def _initialise(self, generator: torch.Generator | None) -> None:
        for part, last_gain in ((self.trunk, _HIDDEN_GAIN), (self.actor, _ACTOR_GAIN), (self.critic, _CRITIC_GAIN)):
            linear = [layer for layer in part.modules() if isinstance(layer, nn.Linear)]
            for layer in linear:
                gain = last_gain if layer is linear[-1] else _HIDDEN_GAIN
                nn.init.orthogonal_(layer.weight, gain, generator=generator)
                nn.init.zeros_(layer.bias)

    def _flat(self, observations: torch.Tensor) -> torch.Tensor:
        spec = self.spec
        if not isinstance(observations, torch.Tensor):
            raise ObservationError(
                f"observations: found {kind_of(observations)}, expected a torch.Tensor: give torch.from_numpy(array)"
            )
        shape, kind = observations.shape, self._weight.dtype
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


def _listed(dims: object) -> object:
    """Any sequence of whole numbers as a list; what isn't one is refused later, with its path."""
    return list(dims) if isinstance(dims, Sequence) else dims


def check_weights(network: Mapping[str, torch.Tensor], weights: Mapping[str, Any], spec: ModelSpec) -> None:
    """Refuse `weights` that aren't those of `network`, a state dict: SpecError for the first that is missing, unknown,
    of another shape, or not dense in memory and of its kind (float32; a Normalisation's float64), and for a scale that
    divides by nothing; its path is `policy_state_dict.<name>`.
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
        if found.dtype != owed.dtype or found.layout != torch.strided:
            always = "normalisation is always fp64" if owed.dtype == torch.float64 else "inference is always fp32"
            raise SpecError(place, f"{found.dtype}, {found.layout}", f"dense {owed.dtype}", always)
        if name == "normalisation.scale" and not (found > 0).all():
            raise SpecError(place, "a number that isn't above 0", "the scale of every observation", remedy)
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
