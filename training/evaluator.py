"""How good a course was, and the baselines that a policy has to beat: all through the one engine, costs included."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_DOWN, Decimal

import empyrical
import numpy as np
from numpy.typing import NDArray

from mlflow_ppo_flavor.contract.spec import BarSpec, ModelSpec
from mlflow_ppo_flavor.decision.account import apply_fill, mark
from mlflow_ppo_flavor.decision.market import fill_at_open
from mlflow_ppo_flavor.model.inference import Policy, infer
from training.backtest import Backtest, Course, Engine, PolicyFunction

_DAYS = {"regular": 252, "extended": 252, "continuous": 365}
_MINUTES = {"regular": 390, "extended": 960, "continuous": 1440}
_BARS_A_MINUTE = {"1Hour": 1 / 60, "1Min": 1.0}


@dataclass(frozen=True)
class Score:
    """What a course was worth. Shares are of 1 (0.1 is 10 %); NaN where a number has no meaning.

    `annual_return` compounds; `sharpe` is of the bars' returns over a riskless 0, a year's; `max_drawdown` is the
    deepest fall from a peak, at most 0; `trades` are those closed, `win_rate` the share of them that made money
    (NaN without one); `orders` are fills; `turnover` is the value traded a year, in mean equities; `exposure` is the
    mean of |position| / equity after each step.
    """

    total_return: float
    annual_return: float
    sharpe: float
    max_drawdown: float
    trades: float
    win_rate: float
    orders: float
    turnover: float
    exposure: float

    def to_dict(self) -> dict[str, float]:
        """{name: number}, as a table or MLflow shows it."""
        return asdict(self)


def bars_a_year(spec: BarSpec) -> float:
    """How many bars a year of trading has: 252 days of 6.5 hours, 16 when extended, or 365 of 24."""
    if spec.timeframe == "1Day":
        return float(_DAYS[spec.session])
    return _DAYS[spec.session] * _MINUTES[spec.session] * _BARS_A_MINUTE[spec.timeframe]


def score(course: Course) -> Score:
    """The score of a course, by empyrical's formulas where it has them. What is lost beyond all counts as all."""
    equity, a_year = np.maximum(course.equity, 0.0), bars_a_year(course.bars.spec)
    before, after = equity[:-1], equity[1:]
    returns = np.divide(after - before, before, out=np.zeros_like(before), where=before > 0)
    first, last = course.states[0], course.states[-1]
    trades, fills = last.trades - first.trades, [fill for fill in course.fills if fill is not None]
    traded = sum(abs(float(fill.quantity)) * fill.price for fill in fills)
    shares = np.divide(np.abs(course.positions[1:]), after, out=np.zeros_like(after), where=after > 0)
    return Score(
        total_return=float(empyrical.cum_returns_final(returns)),
        annual_return=float(empyrical.annual_return(returns, annualization=a_year)),
        sharpe=_sharpe(returns, a_year),
        max_drawdown=float(empyrical.max_drawdown(returns)),
        trades=trades,
        win_rate=(last.wins - first.wins) / trades if trades else math.nan,
        orders=len(fills),
        turnover=traded / float(equity.mean()) * a_year / len(returns),
        exposure=float(shares.mean()),
    )


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean of each number over those scores in which it has a meaning; NaN where it has none."""
    rows = np.array([list(s.to_dict().values()) for s in scores], dtype=np.float64)
    known = ~np.isnan(rows)
    sums, counts = np.where(known, rows, 0.0).sum(axis=0), known.sum(axis=0)
    return Score(*np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0).tolist())


def greedy(policy: Policy) -> PolicyFunction:
    """The policy's most probable action, by the inference that a live trader gets, to the bit."""
    return lambda observation: int(infer(policy, observation[None])[0].argmax())


def random_actions(spec: ModelSpec, seed: int) -> PolicyFunction:
    """An action drawn evenly from the spec's, whatever is observed."""
    random = np.random.default_rng(seed)
    return lambda _: int(random.integers(spec.n_actions))


def buy_and_hold(
    engine: Engine, share: float, *, equity: float, start: int | None = None, end: int | None = None
) -> Course:
    """Put `share` of `equity` into the instrument at the first open of the span, costs included, and hold it.

    No decision of the spec's: its sizing doesn't apply, only the instrument's step. A share of 0 is doing nothing.
    """
    steps = engine.span(start, end)
    bars, following = engine.bars, steps.start + 1
    when, price = int(bars.time[following]), float(bars.open[following])
    one = fill_at_open(Decimal(1), when, price, engine.costs)
    step = engine.instrument.step
    affordable = Decimal(share * equity / (one.price + one.fee)) / step
    quantity = affordable.to_integral_value(ROUND_DOWN) * step
    fill = fill_at_open(quantity, when, price, engine.costs) if quantity else None
    first = engine.start(steps.start, equity)
    states, held = [first], first if fill is None else apply_fill(first, fill)
    for close in bars.close[following : steps.stop + 1].tolist():
        held = mark(held, close)
        states.append(held)
    fills = (fill, *(None for _ in steps[1:]))
    return Course(bars[steps.start : steps.stop + 1], tuple(states), fills)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A policy beside its baselines over the same bars: `random` has a course for each seed."""

    policy: Backtest
    baselines: Mapping[str, Course]
    random: tuple[Backtest, ...]

    @property
    def scores(self) -> dict[str, Score]:
        """{label: score}; random is the mean of its seeds' scores."""
        single = {"policy": self.policy, **self.baselines}
        random = mean_score([score(backtest) for backtest in self.random])
        return {**{label: score(course) for label, course in single.items()}, "random": random}

    @property
    def curves(self) -> dict[str, NDArray[np.float64]]:
        """{label: equity, float64[n+1]} at `policy.times`; random is the mean of its seeds' equity."""
        curves = {"policy": self.policy.equity, **{label: c.equity for label, c in self.baselines.items()}}
        return {**curves, "random": np.mean([backtest.equity for backtest in self.random], axis=0)}


def evaluate(
    engine: Engine,
    policy: PolicyFunction,
    *,
    equity: float,
    start: int | None = None,
    end: int | None = None,
    seeds: Sequence[int] = range(5),
) -> Evaluation:
    """The policy over bars[start:end] beside doing nothing, buying and holding (all, and max_position) and chance."""
    spec = engine.spec
    most = spec.sizing.max_position
    return Evaluation(
        policy=engine.run(policy, equity=equity, start=start, end=end),
        baselines={
            "hold 100%": buy_and_hold(engine, 1.0, equity=equity, start=start, end=end),
            f"hold {most:.0%}": buy_and_hold(engine, most, equity=equity, start=start, end=end),
            "do nothing": buy_and_hold(engine, 0.0, equity=equity, start=start, end=end),
        },
        random=tuple(engine.run(random_actions(spec, seed), equity=equity, start=start, end=end) for seed in seeds),
    )


def _sharpe(returns: NDArray[np.float64], a_year: float) -> float:
    """Sharpe ratio of a year; NaN for returns that never vary."""
    varies = len(returns) > 1 and bool(np.ptp(returns) > 0)
    return float(empyrical.sharpe_ratio(returns, annualization=a_year)) if varies else math.nan
