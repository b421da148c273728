"""GAE against its definition: the sum over l of (γλ)^l δ_{t+l}, cut where the episode ended."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.advantage import estimate_advantages, explained_variance


def naive(rewards, values, next_values, terminated, ended, gamma, gae_lambda):
    """One sum for each step of each environment: O(T²), straight from the definition."""
    advantages = np.zeros_like(rewards)
    for env in range(rewards.shape[1]):
        for start in range(len(rewards)):
            for step in range(start, len(rewards)):
                future = 0.0 if terminated[step, env] else gamma * next_values[step, env]
                delta = rewards[step, env] + future - values[step, env]
                advantages[start, env] += (gamma * gae_lambda) ** (step - start) * delta
                if ended[step, env]:
                    break
    return advantages


numbers = st.floats(-100, 100)
shares = st.floats(0, 1)


@given(st.data(), st.integers(1, 20), st.integers(1, 3), shares, shares)
def test_advantages_are_the_sum_of_discounted_errors(data, steps, envs, gamma, gae_lambda) -> None:
    shape = (steps, envs)
    rewards, values, next_values = (data.draw(arrays(np.float64, shape, elements=numbers)) for _ in range(3))
    terminated, truncated = (data.draw(arrays(np.bool_, shape)) for _ in range(2))
    parts = (rewards, values, next_values, terminated, terminated | truncated)
    found = estimate_advantages(*map(torch.from_numpy, parts), gamma=gamma, gae_lambda=gae_lambda)
    np.testing.assert_allclose(found.numpy(), naive(*parts, gamma, gae_lambda), rtol=1e-9, atol=1e-9)


def test_termination_expects_nothing_and_truncation_what_would_have_come() -> None:
    one, yes, no = torch.ones(1, 1), torch.tensor([[True]]), torch.tensor([[False]])
    terminal = estimate_advantages(one, 3 * one, 10 * one, yes, yes, gamma=0.5, gae_lambda=0.9)
    timed = estimate_advantages(one, 3 * one, 10 * one, no, yes, gamma=0.5, gae_lambda=0.9)
    assert terminal.item() == pytest.approx(1 - 3)
    assert timed.item() == pytest.approx(1 + 5 - 3)


@given(st.integers(2, 50), st.integers(0, 2**32 - 1))
def test_explained_variance_against_numpy(count: int, seed: int) -> None:
    values, returns = np.random.default_rng(seed).normal(size=(2, count))
    expected = 1 - np.var(returns - values) / np.var(returns)
    assert explained_variance(torch.from_numpy(values), torch.from_numpy(returns)) == pytest.approx(expected, abs=1e-9)


def test_explained_variance_of_perfect_useless_and_unvaried() -> None:
    returns = torch.tensor([1.0, 2.0, 4.0])
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(torch.full((3,), 7.0), returns) == pytest.approx(0.0)
    assert np.isnan(explained_variance(returns, torch.ones(3)))
