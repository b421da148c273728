"""The bars behind a decision: what is observed at the last of them, the account followed over them. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from live.record import Standing
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.decision.account import AccountState, mark
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features import compute_features
from mlflow_ppo_flavor.decision.observation import build_observation
from mlflow_ppo_flavor.model.stages import bars_needed


def observe(bars: Bars, state: AccountState, spec: ModelSpec) -> NDArray[np.float32]:
    """The observation at the last bar's close, float32[obs_dim], from exactly the bars that the spec reads.

    `state` is marked at that close. BarsError where there are fewer bars than `bars_needed(spec)`.
    """
    known = bars[-bars_needed(spec) :]
    market = compute_features(known, spec.market_features, start=len(known) - spec.window)
    return build_observation(market, state, spec)


def begin(bars: Bars, capital: float) -> Standing:
    """A flat account with `capital` in cash, marked at the last bar's close: as an episode begins in training."""
    last = bars.bar(-1)
    return Standing(mark(AccountState.start(capital), last.close), last.time)


def follow(standing: Standing, bars: Bars) -> Standing:
    """The account marked at the close of every bar after the one that it was marked at, in order.

    Fills are applied as they are settled, before the close of their bar.
    """
    first = int(np.searchsorted(bars.time, standing.marked, side="right"))
    state = standing.state
    for close in bars.close[first:].tolist():
        state = mark(state, close)
    return Standing(state, max(standing.marked, int(bars.time[-1])))
