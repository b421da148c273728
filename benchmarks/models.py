"""The models that are measured: the released network, 12 MB, with golden decisions, beside one that does nothing."""

from __future__ import annotations

from pathlib import Path

import torch

import mlflow_ppo_flavor as ppo
from benchmarks.identity import save_identity
from mlflow_ppo_flavor.model.policy import ActorCritic
from training.series import mean_reverting_bars

BARS = mean_reverting_bars(length=700, seed=0)
SPEC = ppo.MODEL_SPECS["2.7.0"].for_bars(
    timeframe=BARS.spec.timeframe, adjustment=BARS.spec.adjustment, symbols=[BARS.symbol]
)


def released_policy() -> ActorCritic:
    """The network of 2.7.0, untrained, its actor loud enough to decide clearly."""
    policy = ActorCritic(SPEC, generator=torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        policy.actor.get_parameter("weight").mul_(100)
    return policy


def save_pair(folder: Path) -> tuple[Path, Path]:
    """(folder of the policy's model, folder of the model that does nothing): it is the same but for its loader."""
    ours, identity = folder / "policy", folder / "identity"
    policy = released_policy()
    ppo.save_model(policy, ours, golden=ppo.record_golden(policy, BARS))
    save_identity(identity, ours)
    return ours, identity
