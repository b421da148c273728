"""The one engine of environment, evaluation and demo: decided at a bar's close, filled at the next open, with Costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.decision.account import AccountState, apply_fill, mark
from mlflow_ppo_flavor.decision.action import Decision, Instrument, decide
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features import cached_features, compute_features, lookback_of
from mlflow_ppo_flavor.decision.market import Costs, Fill, fill_at_open
from mlflow_ppo_flavor.decision.observation import build_observation
from mlflow_ppo_flavor.errors import BarsError, SpecError

PolicyFunction = Callable[[NDArray[np.float32]], int]
"""An observation, float32[obs_dim], to an action."""


class Transition(NamedTuple):
    """From one close to the next: the account there, and the fill at the open in between, if any."""

    state: AccountState
    fill: Fill | None


def step_account(state: AccountState, decision: Decision, bars: Bars, t: int, costs: Costs) -> Transition:
    """The account at bar t+1's close, from that at bar t's: the decision fills at t+1's open, less costs."""
    close = float(bars.close[t + 1])
    if not decision.quantity:
        return Transition(mark(state, close), None)
    fill = fill_at_open(decision.quantity, int(bars.time[t + 1]), float(bars.open[t + 1]), costs)
    return Transition(mark(apply_fill(state, fill), close), fill)


@dataclass(frozen=True, eq=False)
class Course:
    """How an account went: n+1 closes and the n steps between them.

    `times` int64[n+1], the starts of the bars that the account was marked at (UTC nanoseconds); `states` n+1 accounts;
    `fills` n, None where nothing was traded.
    """

    bars: Bars
    states: tuple[AccountState, ...]
    fills: tuple[Fill | None, ...]

    @property
    def times(self) -> NDArray[np.int64]:
        """Starts of the n+1 bars, UTC nanoseconds."""
        return self.bars.time

    @cached_property
    def equity(self) -> NDArray[np.float64]:
        """Equity at each close, float64[n+1], account currency."""
        return np.array([state.equity for state in self.states])

    @cached_property
    def positions(self) -> NDArray[np.float64]:
        """Signed value of the position at each close, float64[n+1], account currency."""
        return np.array([state.position_value for state in self.states])


@dataclass(frozen=True, eq=False)
class Backtest(Course):
    """What a policy did over bars: `decisions` has one for each close but the last."""

    spec: ModelSpec
    decisions: tuple[Decision, ...]

    @property
    def actions(self) -> NDArray[np.int64]:
        """The action at each close but the last, int64[n]."""
        return np.array([decision.action for decision in self.decisions], dtype=np.int64)

    @property
    def action_counts(self) -> dict[str, int]:
        """{meaning: how often it was chosen}, in the order of the spec's actions."""
        chosen = Counter(decision.meaning for decision in self.decisions)
        return {action.name: chosen[action.name] for action in self.spec.actions}

    @property
    def skips(self) -> dict[str, int]:
        """{reason: how many decisions wanted to trade and didn't because of it}."""
        return dict(Counter(d.skipped for d in self.decisions if d.skipped is not None))


@dataclass(frozen=True, eq=False)
class Engine:
    """Bars with their features computed once, and the rules by which an account moves over them.

    `market` float32[len(bars) - lookback + 1, n_market] belongs to the bars from `lookback - 1` on. Build with
    `prepare`.
    """

    bars: Bars
    spec: ModelSpec
    instrument: Instrument
    costs: Costs
    market: NDArray[np.float32]

    @classmethod
    def prepare(
        cls, bars: Bars, spec: ModelSpec, instrument: Instrument, costs: Costs, store: Path | None = None
    ) -> Engine:
        """The engine for these bars; features from the `store` folder if one is given.

        SpecError if the spec was made for other bars, BarsError if there are too few for a single decision.
        """
        if spec.bars is not None and spec.bars != bars.spec:
            raise SpecError("bars", f"{bars.spec} for {bars.symbol}", f"{spec.bars}, which this spec was made for")
        needed = lookback_of(spec.market_features) + spec.window
        if len(bars) < needed:
            why = f"{spec.version} decides from {needed - 1} bars and fills at one more"
            raise BarsError(f"{bars.symbol}: found {len(bars)} bars, expected at least {needed}: {why}")
        if store is None:
            return cls(bars, spec, instrument, costs, compute_features(bars, spec.market_features))
        return cls(bars, spec, instrument, costs, cached_features(bars, spec.market_features, store))

    @property
    def first(self) -> int:
        """The first bar with a whole window behind it: where a decision is possible."""
        return len(self.bars) - len(self.market) + self.spec.window - 1

    def start(self, t: int, equity: float) -> AccountState:
        """A flat account with `equity` in cash, marked at bar t's close."""
        return mark(AccountState.start(equity), float(self.bars.close[t]))

    def observe(self, t: int, state: AccountState, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """The observation at bar t's close, float32[obs_dim], in `out` where given; t in [first, len(bars))."""
        end = t + 1 - (len(self.bars) - len(self.market))
        return build_observation(self.market[end - self.spec.window : end], state, self.spec, out)

    def advance(self, t: int, state: AccountState, action: SupportsIndex) -> tuple[Decision, Transition]:
        """Decide `action` at bar t's close and go on to t+1's; ActionError for an action outside the spec."""
        decision = decide(action, self.spec, state, self.instrument, float(self.bars.close[t]))
        return decision, step_account(state, decision, self.bars, t, self.costs)

    def span(self, start: int | None, end: int | None) -> range:
        """The bars at which a run from `start` (default: `first`) to `end` (exclusive, default: all) decides.

        Its last bar is only marked. BarsError for a span that holds no decision or starts before `first`.
        """
        steps = range(self.first if start is None else start, (len(self.bars) if end is None else end) - 1)
        if not steps or steps.start < self.first or steps.stop >= len(self.bars):
            wanted = f"{self.first} <= start, start + 2 <= end <= {len(self.bars)}"
            raise BarsError(f"{self.bars.symbol}: found start {steps.start}, end {steps.stop + 1}, expected {wanted}")
        return steps

    def run(
        self, policy: PolicyFunction, *, equity: float, start: int | None = None, end: int | None = None
    ) -> Backtest:
        """Let `policy` decide at each bar of the span, from `equity` in cash."""
        steps = self.span(start, end)
        states, decisions, fills = [self.start(steps.start, equity)], [], []
        for t in steps:
            decision, (state, fill) = self.advance(t, states[-1], policy(self.observe(t, states[-1])))
            states.append(state)
            decisions.append(decision)
            fills.append(fill)
        marked = self.bars[steps.start : steps.stop + 1]
        return Backtest(marked, tuple(states), tuple(fills), self.spec, tuple(decisions))


def run_backtest(
    policy: PolicyFunction,
    bars: Bars,
    spec: ModelSpec,
    instrument: Instrument,
    costs: Costs,
    *,
    initial_equity: float,
    start: int | None = None,
    end: int | None = None,
) -> Backtest:
    """What `policy` would have done over bars[start:end]; `Engine` is the way to run several over the same bars."""
    return Engine.prepare(bars, spec, instrument, costs).run(policy, equity=initial_equity, start=start, end=end)
