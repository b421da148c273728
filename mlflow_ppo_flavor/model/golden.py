"""Recording golden decisions, by the very functions that environment and trader call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_DOWN, Decimal

import numpy as np

from mlflow_ppo_flavor.contract.packages import installed_versions, own_packages
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.decision.account import AccountState, apply_fill, mark
from mlflow_ppo_flavor.decision.action import Instrument, decide
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.market import Costs, fill_at_open
from mlflow_ppo_flavor.errors import BarsError, SpecError
from mlflow_ppo_flavor.model import stages
from mlflow_ppo_flavor.model.inference import Policy, infer
from mlflow_ppo_flavor.model.policy import kind_of
from mlflow_ppo_flavor.model.proof import Case, Golden, Segment, TableRow
from mlflow_ppo_flavor.model.wholeness import margins_of

REGIMES, CASES_OF_REGIME, STRIDE = 4, 6, 7
"""Where `record_golden` looks: stretches of the bars, cases in each, and bars between those (7 meets every weekday)."""
_WALK = 50
_SAMPLES = 2
_PACKAGES = ("mlflow-ppo-flavor", "numpy", "numba", "torch")
_EQUITY = 100_000.0
_SEVERAL, _LEAST_LIMIT = 200.0, 1e-6
_FREE = Costs(spread_bps=0.0, commission_bps=0.0)


def record_golden(policy: Policy, bars: Bars) -> Golden:
    """Golden decisions of a policy on bars, 24 cases in four regimes: for training code without an environment of ours.

    The accounts are those of a seeded random walk of actions, filled as everywhere. Raises as `record_cases`.
    """
    _check_bars(policy.spec, bars)
    least = stages.bars_needed(policy.spec)
    last = len(bars) - 1
    ends = np.linspace(min(least - 1 + STRIDE * (CASES_OF_REGIME - 1), last), last, REGIMES).astype(int)
    cases: dict[int, AccountState] = {}
    for end in ends:
        rows = [int(row) for row in range(end, end - STRIDE * CASES_OF_REGIME, -STRIDE) if row >= least - 1]
        cases |= dict(_walk(policy.spec, bars, sorted(rows)))
    return record_cases(policy, bars, cases.items())


def record_cases(policy: Policy, bars: Bars, cases: Iterable[tuple[int, AccountState]]) -> Golden:
    """Golden decisions of the given cases: (bar at whose close it is decided, account marked at that close).

    Of the bars is kept what the cases read. BarsError for no case, or one without its lookback and window; SpecError
    where the policy's spec has no bars, others than these, or features that this version doesn't compute.
    """
    spec = policy.spec
    _check_bars(spec, bars)
    given = sorted(cases, key=lambda case: case[0])
    least = stages.bars_needed(spec)
    outside = [bar for bar, _ in given if not least - 1 <= bar < len(bars)]
    if outside or not given:
        found = f"bar {outside[0]}" if outside else "no case"
        where = f"a bar in [{least - 1}, {len(bars) - 1}]"
        raise BarsError(f"{bars.symbol}: golden case: found {found}, expected {where}: {_why(spec, least)}")
    spans = _spans([bar for bar, _ in given], least)
    segments = tuple(_segment(bars[a:b], [bar - a for bar, _ in given if a <= bar < b], spec) for a, b in spans)
    places = [next((i, bar - a) for i, (a, b) in enumerate(spans) if a <= bar < b) for bar, _ in given]
    placed = [Case(i, row, account) for (i, row), (_, account) in zip(places, given, strict=True)]
    return _recorded(policy, segments, tuple(placed))


def _recorded(policy: Policy, segments: tuple[Segment, ...], cases: tuple[Case, ...]) -> Golden:
    """Every stage of the cases. The actions' table is at the close of the last case."""
    spec, bars = policy.spec, segments[-1].bars
    instruments = (Instrument.equity(bars.symbol), Instrument.equity(bars.symbol, fractionable=False))
    observations = stages.observations_of(segments, cases, spec)
    logits, values = infer(policy, observations)
    actions = logits.argmax(axis=1).astype(np.int64)
    price = float(bars.close[cases[-1].row])
    return Golden(
        spec=spec,
        recorded_with={**installed_versions(_PACKAGES), **own_packages()},
        instruments=instruments,
        segments=segments,
        cases=cases,
        account_features=stages.account_features_of(cases, spec),
        digests=stages.digests_of(observations),
        samples=observations[:_SAMPLES].copy(),
        logits=logits,
        values=values,
        actions=actions,
        margins=margins_of(logits),
        decisions=stages.decisions_of(actions.tolist(), segments, cases, spec, instruments[0]),
        table=tuple(
            TableRow(name, account, price, stages.table_of(account, price, spec, instruments))
            for name, account in _accounts(spec, price)
        ),
    )


def _check_bars(spec: ModelSpec, bars: Bars) -> None:
    """Refuse what isn't Bars, bars that the spec doesn't promise, and too few of them."""
    given: object = bars
    if not isinstance(given, Bars):
        remedy = "give Bars.from_frame(frame, symbol=..., spec=policy.spec.bars)"
        raise BarsError(f"bars: found {kind_of(given)}, expected Bars: {remedy}")
    if spec.bars != bars.spec:
        remedy = "build the policy with spec.for_bars(...) of the bars that it is trained on"
        found = "no bars" if spec.bars is None else str(spec.bars.to_dict())
        raise SpecError("spec.bars", found, f"those of {bars.symbol} {bars.spec.to_dict()}", remedy)
    least = stages.bars_needed(spec)
    if len(bars) < least:
        found = f"found {len(bars)} bars, expected at least {least} to record golden decisions"
        raise BarsError(f"{bars.symbol}: {found}: {_why(spec, least)}")


def _why(spec: ModelSpec, least: int) -> str:
    return f"a window of {spec.window} bars whose features look back {least - spec.window + 1}: give more history"


def _spans(ends: Sequence[int], least: int) -> list[tuple[int, int]]:
    """[first, after) of the bars that cases at `ends`, ascending, read; those that touch are joined."""
    spans: list[tuple[int, int]] = []
    for end in ends:
        first, after = end - least + 1, end + 1
        if spans and first <= spans[-1][1]:
            first = spans.pop()[0]
        spans.append((first, after))
    return spans


def _segment(bars: Bars, ends: Sequence[int], spec: ModelSpec) -> Segment:
    """A segment with the features of every window that ends at one of `ends`."""
    rows = np.unique(np.concatenate([np.arange(end - spec.window + 1, end + 1) for end in ends]))
    return Segment(bars, rows, stages.features_of(bars, rows, spec))


def _walk(spec: ModelSpec, bars: Bars, rows: Sequence[int]) -> Iterator[tuple[int, AccountState]]:
    """(bar, account) at `rows`, ascending, of an account that acts at random from some bars before the first."""
    state, instrument = AccountState.start(_EQUITY), Instrument.equity(bars.symbol)
    chance = np.random.default_rng(rows[0])
    for bar in range(max(rows[0] - _WALK, 0), rows[-1] + 1):
        close = float(bars.close[bar])
        state = mark(state, close)
        if bar in rows:
            yield bar, state
        decision = decide(int(chance.integers(spec.n_actions)), spec, state, instrument, close)
        if decision.quantity and bar < rows[-1]:
            opened, price = int(bars.time[bar + 1]), float(bars.open[bar + 1])
            state = apply_fill(state, fill_at_open(decision.quantity, opened, price, Costs()))


def _accounts(spec: ModelSpec, price: float) -> Iterator[tuple[str, AccountState]]:
    """Accounts at `price`: flat, long by half the limit, at the limit, in drawdown and, where allowed, short."""
    limit = spec.sizing.max_position
    # with whole shares of any price, half of any limit must still be several
    start = AccountState.start(max(_EQUITY, _SEVERAL / max(limit, _LEAST_LIMIT) * price))
    most = limit * start.equity / price

    def holding(quantity: float, bought_at: float, step: str = "1e-9") -> AccountState:
        rounded = Decimal(quantity).quantize(Decimal(step), ROUND_DOWN)
        bought = apply_fill(start, fill_at_open(rounded, 0, bought_at, _FREE)) if rounded else start
        return mark(mark(bought, bought_at), price)

    yield "flat", mark(start, price)
    yield "long", holding(most / 2, price)
    yield "at the cap", holding(most, price)
    yield "in drawdown", holding(most / 2, price * 2)
    if spec.sizing.allow_short:
        yield "short", holding(-most / 2, price, step="1")
