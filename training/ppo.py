"""Proximal policy optimisation: the loss, the update, the training loop.

Schulman et al. 2017, "Proximal Policy Optimization Algorithms"; details as Huang et al. 2022, "The 37
Implementation Details of Proximal Policy Optimization". All randomness comes from the config's seed, through explicit
generators.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import TrainingDiverged
from mlflow_ppo_flavor.model.policy import ActorCritic
from training.advantage import estimate_advantages, explained_variance
from training.config import PPOConfig
from training.rollout import Collector, Episodes, Rollout, VectorEnvironment


@dataclass(frozen=True)
class Batch:
    """What the loss is computed from, [n] each: actions, what the policy thought of them, what came of it."""

    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor

    def select(self, rows: Tensor) -> Batch:
        """The given rows."""
        return Batch(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Loss:
    """The loss to descend, its parts, and how far the policy has moved; scalars, `total` with a gradient."""

    total: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor


@dataclass(frozen=True)
class UpdateMetrics:
    """What one update tells. Rewards are the environment's (scaled); NaN where no episode ended or nothing varied.

    `mean_reward` is per step; `mean_episode_return` and `mean_episode_length` are of the episodes that ended in the
    rollout. Loss parts are means over the update's gradient steps, `grad_norm` is before clipping.
    """

    update: int
    global_step: int
    mean_reward: float
    mean_episode_return: float
    mean_episode_length: float
    policy_loss: float
    value_loss: float
    entropy: float
    approx_kl: float
    clip_fraction: float
    explained_variance: float
    learning_rate: float
    grad_norm: float
    epochs: int
    steps_per_second: float

    def to_dict(self) -> dict[str, float]:
        """{metric: value}, as MLflow logs them."""
        return asdict(self)


def ppo_loss(logits: Tensor, values: Tensor, batch: Batch, config: PPOConfig) -> Loss:
    """The clipped surrogate loss: L = L_policy + vf_coef · L_value - ent_coef · entropy.

    `logits` [n, n_actions] and `values` [n] are the policy's present answers on the batch's observations. Advantages
    are normalised over these n rows if `norm_adv`; the value's change is clipped as the ratio's if `clip_vloss`.
    Schulman et al. 2017, equations 7 and 9; `approx_kl` is the estimator k3 of Schulman 2020, "Approximating KL
    Divergence": the mean of (ratio - 1) - log ratio.
    """
    log_probs = logits.log_softmax(-1)
    log_ratio = log_probs.gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1) - batch.log_probs
    ratio = log_ratio.exp()

    advantages = batch.advantages
    if config.norm_adv:
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    clipped_ratio = ratio.clamp(1.0 - config.clip_coef, 1.0 + config.clip_coef)
    policy_loss = -torch.minimum(advantages * ratio, advantages * clipped_ratio).mean()

    errors = (values - batch.returns).square()
    if config.clip_vloss:
        clipped = batch.values + (values - batch.values).clamp(-config.clip_coef, config.clip_coef)
        errors = torch.maximum(errors, (clipped - batch.returns).square())
    value_loss = 0.5 * errors.mean()

    entropy = -(log_probs.exp() * log_probs).sum(-1).mean()
    with torch.no_grad():
        approx_kl = ((ratio - 1.0) - log_ratio).mean()
        clip_fraction = ((ratio - 1.0).abs() > config.clip_coef).to(ratio.dtype).mean()
    total = policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
    return Loss(total, policy_loss, value_loss, entropy, approx_kl, clip_fraction)


def initial_policy(spec: ModelSpec, config: PPOConfig) -> ActorCritic:
    """An untrained policy of the config's hidden_dims; its weights follow from the config's seed alone."""
    return ActorCritic(spec, config.hidden_dims, generator=torch.Generator().manual_seed(config.seeds.weights))


class PPOTrainer:
    """Trains a policy in an environment, in place; any module: observations [n, obs_dim] → logits and values.

    `updates()` does the work and yields what each update tells; `optimizer` and `global_step` are what a checkpoint
    keeps. The same policy, environment and config give the same weights to the bit on the same machine and thread
    count.
    """

    def __init__(
        self,
        policy: nn.Module,
        environment: VectorEnvironment,
        config: PPOConfig,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        seeds = config.seeds
        self.policy, self.config, self.clock = policy.to(config.device), config, clock
        # eps 1e-5 as OpenAI's baselines; fused is the same rule in one pass, three times faster on wide layers
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate, eps=1e-5, fused=True)
        self.global_step = 0
        self._shuffler = torch.Generator(config.device).manual_seed(seeds.shuffling)
        actor = torch.Generator(config.device).manual_seed(seeds.actions)
        self._rollout = Rollout.empty(config, environment.obs_dim)
        self._collector = Collector(environment, self._rollout, seed=seeds.episodes, generator=actor)

    def updates(self) -> Iterator[UpdateMetrics]:
        """Collect and learn, update by update; TrainingDiverged when a gradient is no longer finite."""
        for update in range(self.config.num_updates):
            started = self.clock()
            learning_rate = self.config.learning_rate_at(update)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            episodes = self._collector.collect(self.policy)
            batch, variance = self._judge()
            steps = self._learn(update, batch)
            self.global_step += self.config.batch_size
            speed = self.config.batch_size / max(self.clock() - started, 1e-9)
            yield self._tell(update, episodes, variance, steps, speed)

    def _judge(self) -> tuple[Batch, float]:
        """The rollout as one flat batch with its advantages, and the critic's explained variance on it."""
        rollout = self._rollout
        advantages = estimate_advantages(
            rollout.rewards,
            rollout.values,
            rollout.next_values,
            rollout.terminated,
            rollout.ended,
            gamma=self.config.gamma,
            gae_lambda=self.config.gae_lambda,
        )
        returns = advantages + rollout.values
        parts = (rollout.actions, rollout.log_probs, rollout.values, advantages, returns)
        return Batch(*(part.flatten() for part in parts)), explained_variance(rollout.values, returns)

    def _learn(self, update: int, batch: Batch) -> Tensor:
        """Pass after pass over the batch; what each gradient step told, [k, 6]: loss parts, gradient norm."""
        observations, told = self._rollout.observations.flatten(0, 1), []
        for _ in range(self.config.update_epochs):
            order = torch.randperm(len(observations), generator=self._shuffler, device=observations.device)
            passed = [
                self._descend(observations[rows], batch.select(rows))
                for rows in order.chunk(self.config.num_minibatches)
            ]
            told += passed
            # one look at the numbers in each pass: on an accelerator every look waits for it
            kl, norm = (float(torch.stack(passed)[:, column].mean()) for column in (3, 5))
            if not math.isfinite(norm):
                raise TrainingDiverged(update, norm, self.config.learning_rate)
            if self.config.target_kl is not None and kl > self.config.target_kl:
                break
        return torch.stack(told)

    def _descend(self, observations: Tensor, batch: Batch) -> Tensor:
        """One gradient step on a minibatch; the loss' parts and the gradient's norm before clipping, [6]."""
        logits, values = self.policy(observations)
        loss = ppo_loss(logits, values, batch, self.config)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss.total)
        norm = nn.utils.clip_grad_norm_(self.policy.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        parts = (loss.policy, loss.value, loss.entropy, loss.approx_kl, loss.clip_fraction, norm)
        return torch.stack([part.detach() for part in parts])

    def _tell(self, update: int, episodes: Episodes, variance: float, steps: Tensor, speed: float) -> UpdateMetrics:
        policy_loss, value_loss, entropy, approx_kl, clip_fraction, grad_norm = steps.mean(0).tolist()
        return UpdateMetrics(
            update=update,
            global_step=self.global_step,
            mean_reward=float(self._rollout.rewards.mean()),
            mean_episode_return=_mean(episodes.returns),
            mean_episode_length=_mean(episodes.lengths),
            policy_loss=policy_loss,
            value_loss=value_loss,
            entropy=entropy,
            approx_kl=approx_kl,
            clip_fraction=clip_fraction,
            explained_variance=variance,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            grad_norm=grad_norm,
            epochs=len(steps) // self.config.num_minibatches,
            steps_per_second=speed,
        )


def _mean(numbers: tuple[float, ...]) -> float:
    return sum(numbers) / len(numbers) if numbers else float("nan")
