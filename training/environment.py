"""Trading as a task to learn: many episodes over the bars of one engine, and one of them as Gymnasium knows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import gymnasium
import numpy as np
from numpy.typing import NDArray

from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.features import known_features
from mlflow_ppo_flavor.decision.observation import ACCOUNT_RANGES, RUINED
from training.backtest import Engine
from training.config import EpisodeConfig
from training.rollout import EnvStep


@dataclass(frozen=True, slots=True)
class Moment:
    """One close within an episode: which bar, the account there, and how many decisions were made before it."""

    bar: int
    state: AccountState
    age: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one decision led to."""

    moment: Moment
    reward: float
    terminated: bool
    truncated: bool


@dataclass(frozen=True)
class TradingTask:
    """The rules of an episode. The reward is `reward_scale` × the change of log equity from close to close.

    So the undiscounted return of an episode is its log growth, and a bet's worth doesn't depend on what was won before.
    """

    engine: Engine
    episode: EpisodeConfig

    def begin(self, random: np.random.Generator) -> Moment:
        """A flat account at a bar drawn evenly from all at which a decision is possible."""
        bar = int(random.integers(self.engine.first, len(self.engine.bars) - 1))
        return Moment(bar, self.engine.start(bar, self.episode.initial_equity), 0)

    def go_on(self, moment: Moment, action: SupportsIndex) -> Outcome:
        """Decide at this close and go to the next; ruin terminates, the episode's length or the last bar truncates."""
        _, (state, _) = self.engine.advance(moment.bar, moment.state, action)
        following = Moment(moment.bar + 1, state, moment.age + 1)
        reward = self.episode.reward_scale * (self._log_equity(state) - self._log_equity(moment.state))
        terminated = state.equity <= self.episode.ruin_fraction * self.episode.initial_equity
        over = following.age >= self.episode.length or following.bar >= len(self.engine.bars) - 1
        return Outcome(following, reward, terminated, over and not terminated)

    def _log_equity(self, state: AccountState) -> float:
        """Finite even for an account with nothing left."""
        return math.log(max(state.equity, RUINED * self.episode.initial_equity))


class TradingEnvironment:
    """`num_envs` episodes of one task side by side; a VectorEnvironment. `moments` are where they stand now."""

    def __init__(self, engine: Engine, num_envs: int, episode: EpisodeConfig) -> None:
        self.task, self.num_envs = TradingTask(engine, episode), num_envs
        self.obs_dim, self.n_actions = engine.spec.obs_dim, engine.spec.n_actions
        self.moments: list[Moment] = []

    def reset(self, seed: int) -> NDArray[np.float32]:
        """All episodes anew, their starts and all later ones drawn from `seed`; observations [num_envs, obs_dim]."""
        self._random = np.random.default_rng(seed)
        self.moments = [self.task.begin(self._random) for _ in range(self.num_envs)]
        return self._observe(self.moments)

    def step(self, actions: NDArray[np.int64]) -> EnvStep:
        """One decision in each episode; those that end begin anew at once."""
        chosen = zip(self.moments, actions.tolist(), strict=True)
        outcomes = [self.task.go_on(moment, action) for moment, action in chosen]
        over = [outcome.moment for outcome in outcomes if outcome.terminated or outcome.truncated]
        final = self._observe(over)
        self.moments = [
            self.task.begin(self._random) if outcome.terminated or outcome.truncated else outcome.moment
            for outcome in outcomes
        ]
        return EnvStep(
            observations=self._observe(self.moments),
            rewards=np.array([outcome.reward for outcome in outcomes]),
            terminated=np.array([outcome.terminated for outcome in outcomes]),
            truncated=np.array([outcome.truncated for outcome in outcomes]),
            final_observations=final,
        )

    def _observe(self, moments: Sequence[Moment]) -> NDArray[np.float32]:
        observations = np.empty((len(moments), self.obs_dim), dtype=np.float32)
        for moment, row in zip(moments, observations, strict=True):
            self.task.engine.observe(moment.bar, moment.state, row)
        return observations


class GymnasiumTrading(gymnasium.Env[NDArray[np.float32], np.int64]):
    """One episode at a time of the same task, for libraries that speak Gymnasium."""

    def __init__(self, engine: Engine, episode: EpisodeConfig) -> None:
        self.task = TradingTask(engine, episode)
        spec = engine.spec
        known = known_features()
        ranges = [(known[ref].low, known[ref].high) for ref in spec.market_features]
        ranges += [ACCOUNT_RANGES[ref] for ref in spec.account_features]
        low, high = (np.tile(np.array(bounds, dtype=np.float32), spec.window) for bounds in zip(*ranges, strict=True))
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Discrete(spec.n_actions)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """A new episode; the seed, where given, starts the generator that draws its first bar anew."""
        super().reset(seed=seed, options=options)
        self._moment = self.task.begin(self.np_random)
        return self._look(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One decision; ActionError for an action outside the spec."""
        outcome = self.task.go_on(self._moment, action)
        self._moment = outcome.moment
        return (
            self._look(),
            outcome.reward,
            outcome.terminated,
            outcome.truncated,
            {"equity": outcome.moment.state.equity},
        )

    def _look(self) -> NDArray[np.float32]:
        return self.task.engine.observe(self._moment.bar, self._moment.state)
