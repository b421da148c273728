"""Small policies on small specs, and bars to record golden decisions with: all seeded, all in milliseconds."""

from functools import cache
from typing import Any

import torch
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.spec import Action, ModelSpec, Sizing
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.model.golden import record_golden
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.proof import Golden
from tests.contract.contracts import specs
from training.series import mean_reverting_bars

ACTIONS = (
    Action("HOLD", 0, 0.0),
    Action("BUY_50%", 1, 0.5),
    Action("BUY_100%", 1, 1.0),
    Action("SELL_50%", -1, 0.5),
)
SPEC = ModelSpec(
    version="1.0.0",
    requires_trader=">=2.7.0",
    features=("return_1@1", "return_2@1", "sma_distance_10@1", "williams_r_14@1", "total_pnl@1", "position_size@1"),
    actions=ACTIONS,
    window=4,
    sizing=Sizing(allow_short=True),
    family="test",
).for_bars(timeframe="1Day", adjustment="all", symbols=["MEANREV"])


def policy_of(spec: ModelSpec, seed: int = 0, hidden_dims: tuple[int, ...] = (16, 8)) -> ActorCritic:
    """A policy whose actor is loud: its logits lie apart, as after training."""
    policy = ActorCritic(spec, hidden_dims, generator=torch.Generator().manual_seed(seed)).eval()
    with torch.no_grad():
        policy.actor.weight.mul_(100)
    return policy


def shaped_policy(seed: int = 3, **options: Any) -> ActorCritic:
    """A policy of SPEC with these options; its normalisation, if any, isn't the identity."""
    generator = torch.Generator().manual_seed(seed)
    policy = ActorCritic(SPEC, generator=generator, **options).eval()
    if "normalisation" in options:
        policy.normalisation.mean.normal_(generator=generator)
        policy.normalisation.scale.uniform_(0.5, 3.0, generator=generator)
    return policy


@cache
def small_policy() -> ActorCritic:
    """The policy of SPEC that most tests share; they don't change it."""
    return policy_of(SPEC)


@cache
def small_bars() -> Bars:
    """300 generated bars, as SPEC wants them."""
    return mean_reverting_bars(length=300, seed=0)


@cache
def small_golden() -> Golden:
    """The golden decisions of the small policy."""
    return record_golden(small_policy(), small_bars())


def observations(spec: ModelSpec, n: int, seed: int = 0) -> torch.Tensor:
    """Random observations float32[n, obs_dim]."""
    return torch.randn(n, spec.obs_dim, generator=torch.Generator().manual_seed(seed))


any_policies = st.builds(
    policy_of,
    specs.filter(lambda spec: spec.obs_dim <= 1000),
    st.integers(0, 2**31),
    st.lists(st.integers(1, 12), min_size=1, max_size=3).map(tuple),
)
