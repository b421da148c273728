"""From a golden file to golden decisions: the foreign numbers are the record, and nothing is added to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import numpy as np

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.action import Decision, Instrument, decide
from mlflow_ppo_flavor.decision.bar_time import show_time
from mlflow_ppo_flavor.model import stages
from mlflow_ppo_flavor.model.foreign.fault import fault, refuse
from mlflow_ppo_flavor.model.foreign.golden_file import GoldenFile
from mlflow_ppo_flavor.model.proof import Case, Float32, Golden, Int64, Segment, TableRow
from mlflow_ppo_flavor.model.wholeness import margins_of

_SAMPLES = 2


def golden_of(file: GoldenFile) -> Golden:
    """The golden decisions that a file recorded: whether this code reproduces them is for `replay` to say.

    Features are the market part of the observations, account features that of their last bar. The reason of a skip
    isn't in a file: it is this code's. IncompatibleModel where a case has too few bars before it, and where two
    observations show different features of one bar; SpecError where the spec's features aren't known here.
    """
    spec, least = file.spec, stages.bars_needed(file.spec)
    refuse([*_short_findings(file, least)])
    first, last = int(file.rows.min()) - least + 1, int(file.rows.max())
    seen = file.observations.reshape(-1, spec.window, spec.n_features)
    rows, features, findings = _features(file, seen[:, :, : len(spec.market_features)], first)
    refuse(findings)
    closes = [float(file.bars.close[row]) for row in file.rows]
    cases = tuple(Case(0, int(row) - first, account) for row, account in zip(file.rows, file.accounts, strict=True))
    return Golden(
        spec=spec,
        recorded_with=dict(file.recorded_with),
        instruments=(file.instrument,),
        segments=(Segment(file.bars[first : last + 1], rows, features),),
        cases=cases,
        account_features=seen[:, -1, len(spec.market_features) :].copy(),
        digests=stages.digests_of(file.observations),
        samples=file.observations[:_SAMPLES].copy(),
        logits=file.logits,
        values=file.values,
        actions=file.actions,
        margins=margins_of(file.logits),
        decisions=tuple(
            _decision(action, quantity, spec, account, file.instrument, price)
            for action, quantity, account, price in zip(
                file.actions.tolist(), file.quantities, file.accounts, closes, strict=True
            )
        ),
        table=tuple(
            TableRow(
                row.name,
                row.account,
                row.price,
                (tuple(_row(row.quantities, spec, row.account, file.instrument, row.price)),),
            )
            for row in file.table
        ),
    )


def _short_findings(file: GoldenFile, least: int) -> Iterator[Finding]:
    for i in np.flatnonzero(file.rows < least - 1):
        expected = f"at least bar {least - 1}"
        remedy = (
            f"a window of {file.spec.window} bars and what its oldest looks back are {least} bars: add bars before it"
        )
        yield fault(f"{file.source}: case_bar[{i}]", str(file.rows[i]), expected, remedy)


def _features(file: GoldenFile, seen: Float32, first: int) -> tuple[Int64, Float32, list[Finding]]:
    """The bars that observations show (rows counted from `first`), their market features float32[m, n_market] as first
    seen, and a finding for each case that shows others.
    """
    window, findings = file.spec.window, []
    shown = file.rows[:, None] + np.arange(-window + 1, 1) - first
    rows = np.unique(shown)
    places = np.searchsorted(rows, shown)
    features = np.full((len(rows), seen.shape[2]), np.nan, dtype=np.float32)
    for i, at in enumerate(places):
        differs = ~np.isnan(features[at]) & (features[at] != seen[i])
        if differs.any():
            bar, column = np.argwhere(differs)[0]
            time = show_time(int(file.bars.time[first + rows[at[bar]]]))
            place = f"{file.source}: observations[{i}], {file.spec.market_features[column]} at {time}"
            earlier = f"{features[at][bar, column]}, as an earlier case shows"
            remedy = "a market feature depends on its bars alone"
            findings.append(fault(place, str(seen[i][bar, column]), earlier, remedy))
        features[at] = seen[i]
    return rows.astype(np.int64), features, findings


def _row(
    quantities: Sequence[Decimal], spec: ModelSpec, account: AccountState, instrument: Instrument, price: float
) -> Iterator[Decision]:
    for action, quantity in enumerate(quantities):
        yield _decision(action, quantity, spec, account, instrument, price)


def _decision(
    action: int, quantity: Decimal, spec: ModelSpec, account: AccountState, instrument: Instrument, price: float
) -> Decision:
    """The recorded decision of an action: the foreign quantity, and what spec, account and price make of it."""
    own, told = decide(action, spec, account, instrument, price), spec.actions[action]
    return Decision(
        action=action,
        meaning=told.name,
        direction=told.direction,
        size=told.size,
        quantity=quantity,
        notional=abs(float(quantity)) * price,
        skipped=None if quantity else own.skipped,
        equity=account.equity_at(price),
        price=price,
    )
