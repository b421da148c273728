"""The PPO loss against a plain recomputation, the update's machinery, and that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.errors import TrainingDiverged
from tests import tiers
from tests.training import markets
from tests.training.toys import Counting, Identity, SmallPolicy
from training.config import PPOConfig
from training.ppo import Batch, PPOTrainer, UpdateMetrics, initial_policy, ppo_loss

LEARNING = PPOConfig(
    total_timesteps=20_000,
    num_envs=8,
    num_steps=64,
    learning_rate=3e-3,
    gamma=0.9,
    num_minibatches=4,
    hidden_dims=(32,),
)


def drawn(seed: int, rows: int, n_actions: int) -> tuple[torch.Tensor, torch.Tensor, Batch]:
    """Random logits, values and batch, float64."""
    random = np.random.default_rng(seed)
    normal = lambda *shape: torch.from_numpy(random.normal(size=shape))  # noqa: E731
    actions = torch.from_numpy(random.integers(n_actions, size=rows))
    batch = Batch(actions, -1 + 0.3 * normal(rows), normal(rows), normal(rows), normal(rows))
    return normal(rows, n_actions), normal(rows), batch


def naive_loss(logits, values, batch, config):
    """Row by row, from the paper's formulas, in Python floats."""
    rows = len(values)
    advantages = batch.advantages.tolist()
    if config.norm_adv:
        mean = sum(advantages) / rows
        spread = math.sqrt(sum((a - mean) ** 2 for a in advantages) / (rows - 1))
        advantages = [(a - mean) / (spread + 1e-8) for a in advantages]
    policy = value = entropy = kl = clipped = 0.0
    for i in range(rows):
        weights = [math.exp(x) for x in logits[i].tolist()]
        shares = [w / sum(weights) for w in weights]
        ratio = shares[int(batch.actions[i])] / math.exp(float(batch.log_probs[i]))
        low, high = 1 - config.clip_coef, 1 + config.clip_coef
        policy -= min(advantages[i] * ratio, advantages[i] * min(max(ratio, low), high)) / rows
        v, old, target = float(values[i]), float(batch.values[i]), float(batch.returns[i])
        error = (v - target) ** 2
        if config.clip_vloss:
            error = max(error, (old + min(max(v - old, -config.clip_coef), config.clip_coef) - target) ** 2)
        value += 0.5 * error / rows
        entropy -= sum(p * math.log(p) for p in shares) / rows
        kl += (ratio - 1 - math.log(ratio)) / rows
        clipped += (abs(ratio - 1) > config.clip_coef) / rows
    total = policy + config.vf_coef * value - config.ent_coef * entropy
    return [total, policy, value, entropy, kl, clipped]


options = st.builds(
    lambda clip, clip_vloss, norm_adv, ent: PPOConfig(
        clip_coef=clip, clip_vloss=clip_vloss, norm_adv=norm_adv, ent_coef=ent
    ),
    st.floats(0.01, 0.9),
    st.booleans(),
    st.booleans(),
    st.floats(0, 1),
)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 7), options)
def test_loss_is_the_papers(seed: int, rows: int, n_actions: int, config: PPOConfig) -> None:
    logits, values, batch = drawn(seed, rows, n_actions)
    loss = ppo_loss(logits, values, batch, config)
    found = [loss.total, loss.policy, loss.value, loss.entropy, loss.approx_kl, loss.clip_fraction]
    assert [float(part) for part in found] == pytest.approx(naive_loss(logits, values, batch, config), abs=1e-9)


@pytest.mark.parametrize("clip_vloss", [False, True])
@pytest.mark.parametrize("norm_adv", [False, True])
def test_gradient_is_that_of_the_loss(clip_vloss: bool, norm_adv: bool) -> None:
    config = PPOConfig(clip_vloss=clip_vloss, norm_adv=norm_adv)
    for seed in range(tiers.COSTLY_EXAMPLES):
        logits, values, batch = drawn(seed, 6, 5)
        inputs = (logits.requires_grad_(), values.requires_grad_())
        assert torch.autograd.gradcheck(lambda x, v, b=batch: ppo_loss(x, v, b, config).total, inputs)


def test_clipped_rows_pull_the_policy_no_further() -> None:
    logits = torch.tensor([[2.0, 0.0], [-2.0, 0.0]], dtype=torch.float64, requires_grad=True)
    gone_up_and_good, gone_down_and_bad = 1.0, -1.0
    advantages = torch.tensor([gone_up_and_good, gone_down_and_bad], dtype=torch.float64)
    zeros, even = torch.zeros(2, dtype=torch.float64), torch.full((2,), math.log(0.5), dtype=torch.float64)
    batch = Batch(torch.tensor([0, 0]), even, zeros, advantages, zeros)
    loss = ppo_loss(logits, zeros, batch, PPOConfig(norm_adv=False, ent_coef=0.0))
    loss.total.backward()
    assert float(loss.clip_fraction) == 1.0
    assert torch.equal(logits.grad, torch.zeros(2, 2, dtype=torch.float64))


def run(config: PPOConfig, environment: Identity | Counting | None = None) -> tuple[PPOTrainer, list[UpdateMetrics]]:
    """Train a small policy to the end."""
    environment = environment or Identity(config.num_envs)
    policy = SmallPolicy(environment.obs_dim, environment.n_actions, config.seed)
    trainer = PPOTrainer(policy, environment, config)
    return trainer, list(trainer.updates())


@pytest.mark.parametrize("seed", tiers.SEEDS)
def test_learns_the_identity_in_20000_steps(seed: int) -> None:
    config = PPOConfig.from_dict(LEARNING.to_dict() | {"seed": seed})
    trainer, metrics = run(config)
    assert trainer.global_step <= 20_000
    assert metrics[-1].mean_episode_return >= 0.95 * 16
    greedy = trainer.policy(torch.eye(4))[0].argmax(-1)
    assert greedy.tolist() == [0, 1, 2, 3]


def test_same_seed_gives_the_same_weights_to_the_bit() -> None:
    config = PPOConfig.from_dict(LEARNING.to_dict() | {"total_timesteps": 2048, "target_kl": 0.05})
    weights, told = [], []
    for seed in (3, 3, 4):
        torch.manual_seed(seed * torch.randint(100, ()).item())  # what others do with torch's own generator has no part
        trainer, metrics = run(PPOConfig.from_dict(config.to_dict() | {"seed": seed}))
        weights.append(torch.cat([w.flatten() for w in trainer.policy.state_dict().values()]))
        told.append([{**m.to_dict(), "steps_per_second": 0.0} for m in metrics])
    assert torch.equal(weights[0], weights[1])
    assert told[0] == told[1]
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(("terminal", "worth"), [(True, 1.0), (False, 2.0)])
def test_critic_sees_through_time_limits_but_not_through_ends(terminal: bool, worth: float) -> None:
    """Reward 1, episodes of one step, γ = 0.5: worth 1 if that is the end, 1 / (1 - γ) = 2 if time was up."""
    config = PPOConfig(
        total_timesteps=12_800,
        num_envs=8,
        num_steps=16,
        gamma=0.5,
        learning_rate=1e-2,
        norm_adv=False,
        hidden_dims=(32,),
    )
    trainer, _ = run(config, Counting(8, 1, terminal=terminal, blind=True))
    assert trainer.policy(torch.zeros(1, 1))[1].item() == pytest.approx(worth, abs=0.1)


def test_kl_stop_ends_an_update_early() -> None:
    eager = LEARNING.to_dict() | {"total_timesteps": 1024, "update_epochs": 10, "learning_rate": 0.05}
    _, free = run(PPOConfig.from_dict(eager))
    _, held = run(PPOConfig.from_dict(eager | {"target_kl": 0.01}))
    assert [m.epochs for m in free] == [10, 10]
    assert all(m.epochs < 10 for m in held)


def test_metrics_count_steps_and_time() -> None:
    ticks = iter(range(1000))
    config = PPOConfig.from_dict(LEARNING.to_dict() | {"total_timesteps": 1536})
    environment = Identity(config.num_envs)
    policy = SmallPolicy(environment.obs_dim, environment.n_actions, seed=0)
    metrics = list(PPOTrainer(policy, environment, config, clock=lambda: float(next(ticks))).updates())
    assert [m.global_step for m in metrics] == [512, 1024, 1536]
    assert [m.update for m in metrics] == [0, 1, 2]
    assert [m.steps_per_second for m in metrics] == [512.0] * 3
    assert [m.learning_rate for m in metrics] == pytest.approx([3e-3, 2e-3, 1e-3])
    assert all(m.mean_episode_length == 16 for m in metrics)
    assert metrics[0].mean_episode_return == pytest.approx(16 * metrics[0].mean_reward)
    assert 0 < metrics[0].entropy <= math.log(4) + 1e-6
    assert set(metrics[0].to_dict()) == set(UpdateMetrics.__dataclass_fields__)


def test_divergence_is_refused_with_what_to_do() -> None:
    class Endless(Identity):
        def step(self, actions: np.ndarray) -> object:
            answer = super().step(actions)
            answer.rewards[0] = math.inf
            return answer

    with pytest.raises(TrainingDiverged) as refused:
        run(PPOConfig.from_dict(LEARNING.to_dict() | {"total_timesteps": 512}), Endless(8))
    assert str(refused.value) == (
        "update 0: found a gradient norm of nan, expected a finite number: "
        "lower learning_rate (0.003) or reward_scale, or look for extreme rewards"
    )


def test_untrained_policies_follow_from_the_seed_alone() -> None:
    config, weights = PPOConfig(hidden_dims=(8, 4)), []
    for seed in (1, 1, 2):
        torch.rand(seed)  # moves torch's own generator on
        policy = initial_policy(markets.small_spec(), PPOConfig.from_dict(config.to_dict() | {"seed": seed}))
        weights.append(torch.cat([weight.flatten() for weight in policy.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert policy.architecture["hidden_dims"] == [8, 4]
