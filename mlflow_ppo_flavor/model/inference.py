"""Inference: observations → logits and values, always in fp32, by the one function that all deciding goes through."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import ObservationError

Float32 = npt.NDArray[np.float32]


class Policy(Protocol):
    """What decides: an ActorCritic, or an OnnxPolicy of any other module."""

    @property
    def spec(self) -> ModelSpec:
        """The contract that it was trained for."""

    @property
    def architecture(self) -> dict[str, Any]:
        """How it is built, as JSON values."""

    @property
    def has_critic(self) -> bool:
        """Whether it judges states; otherwise its values are NaN."""

    def infer(self, observations: Float32) -> tuple[Float32, Float32]:
        """(logits [n, n_actions], values [n]) of observations [n, obs_dim], C order and writable; called by `infer`."""


def infer(policy: Policy, observations: Float32) -> tuple[Float32, Float32]:
    """(logits float32[n, n_actions], values float32[n]) of observations float32[n, obs_dim] or [n, window, n_features].

    Values are NaN where the policy has no critic. Gradients and autocast are off inside, and as they were outside. BLAS
    sums in another order for another n: the same observation has logits that differ in the last bits; one observation
    alone has the same ones again wherever weights and observation lie in memory. ObservationError for another shape or
    kind.
    """
    spec, shape = policy.spec, observations.shape
    flat = shape[1:] == (spec.obs_dim,)
    if observations.dtype != np.float32 or not (flat or shape[1:] == (spec.window, spec.n_features)):
        allowed = f"[n, {spec.obs_dim}] or [n, {spec.window}, {spec.n_features}]"
        raise ObservationError(
            f"observations: found {observations.dtype}{list(shape)}, expected float32 of shape {allowed} "
            f"(spec {spec.version}): build them with build_observation"
        )
    # torch warns of read-only arrays and refuses negative strides
    whole = np.require(observations, requirements=["C", "W"])
    return policy.infer(whole if flat else whole.reshape(-1, spec.obs_dim))
