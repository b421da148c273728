"""Inference: observations → logits and values, always in fp32, whatever the caller has switched on around it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from mlflow_ppo_flavor.model.policy import ActorCritic

Float32 = npt.NDArray[np.float32]


def infer(policy: ActorCritic, observations: Float32) -> tuple[Float32, Float32]:
    """(logits float32[n, n_actions], values float32[n]) of observations float32[n, obs_dim] or [n, window, n_features].

    Gradients and autocast are off inside, and as they were outside. BLAS sums in another order for another n: the same
    observation has logits that differ in the last bits. ObservationError for another shape or kind.
    """
    device = policy.critic.weight.device
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        # torch warns of read-only arrays and refuses negative strides
        logits, values = policy(torch.from_numpy(np.require(observations, requirements=["C", "W"])).to(device))
        return logits.cpu().numpy(), values.cpu().numpy()
