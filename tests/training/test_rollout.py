"""What the collector writes into its buffers, checked against an environment whose course is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.training.toys import Counting
from training.config import PPOConfig
from training.rollout import Collector, Episodes, Rollout

CONFIG = PPOConfig(total_timesteps=10, num_envs=2, num_steps=5, num_minibatches=1)


class AgeIsWorth(nn.Module):
    """Value 100 + age, and two actions of probability 1/4 and 3/4."""

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and values."""
        return torch.tensor([[1.0, 3.0]]).log().expand(len(observations), 2), 100 + observations[:, 0]


def collector(*, terminal: bool) -> Collector:
    """Two environments of episodes of 3 steps, the second one a step ahead."""
    environment = Counting(2, 3, terminal=terminal)
    generator = torch.Generator().manual_seed(0)
    return Collector(environment, Rollout.empty(CONFIG, 1), seed=7, generator=generator)


@pytest.mark.parametrize("terminal", [False, True])
def test_buffers_hold_the_course_and_the_values_of_what_followed(terminal: bool) -> None:
    collecting = collector(terminal=terminal)
    ended = collecting.collect(AgeIsWorth())
    rollout = collecting.rollout
    assert rollout.observations[:, :, 0].T.tolist() == [[0, 1, 2, 0, 1], [1, 2, 0, 1, 2]]
    assert rollout.values.T.tolist() == [[100, 101, 102, 100, 101], [101, 102, 100, 101, 102]]
    # the third step of an episode leads to age 3, which the next episode's age 0 must not replace
    assert rollout.next_values.T.tolist() == [[101, 102, 103, 101, 102], [102, 103, 101, 102, 103]]
    over = [[False, False, True, False, False], [False, True, False, False, True]]
    assert rollout.ended.T.tolist() == over
    assert rollout.terminated.T.tolist() == (over if terminal else [[False] * 5] * 2)
    assert rollout.rewards.tolist() == [[1, 1]] * 5
    assert ended == Episodes(returns=(2.0, 3.0, 3.0), lengths=(2, 3, 3))


def test_log_probabilities_are_those_of_the_actions_taken() -> None:
    collecting = collector(terminal=False)
    collecting.collect(AgeIsWorth())
    rollout = collecting.rollout
    expected = torch.tensor([0.25, 0.75]).log()[rollout.actions]
    assert torch.allclose(rollout.log_probs, expected)


def test_episodes_run_on_between_rollouts() -> None:
    collecting = collector(terminal=False)
    collecting.collect(AgeIsWorth())
    again = collecting.collect(AgeIsWorth())
    assert collecting.rollout.observations[:, :, 0].T.tolist() == [[2, 0, 1, 2, 0], [0, 1, 2, 0, 1]]
    assert again.returns == (3.0, 3.0, 3.0)
    assert collecting.environment.seed == 7


def test_actions_follow_the_policys_probabilities() -> None:
    config = PPOConfig(total_timesteps=8_000, num_envs=8, num_steps=1_000, num_minibatches=1)
    environment, generator = Counting(8, 3, terminal=False), torch.Generator().manual_seed(1)
    collecting = Collector(environment, Rollout.empty(config, 1), seed=0, generator=generator)
    collecting.collect(AgeIsWorth())
    # 4 standard errors of a share of 3/4 in 8,000 draws
    assert collecting.rollout.actions.double().mean().item() == pytest.approx(0.75, abs=4 * (0.1875 / 8_000) ** 0.5)
