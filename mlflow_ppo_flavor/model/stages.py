"""The stages from bars to quantities, over many cases, by the functions that environment and trader call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlflow_ppo_flavor.contract.digest import sha256_hex
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.action import Decision, Instrument, decide
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features import compute_features, lookback_of
from mlflow_ppo_flavor.decision.observation import account_features, build_observation
from mlflow_ppo_flavor.model.proof import Case, Float32, Int64, Segment


def bars_needed(spec: ModelSpec) -> int:
    """How many bars one observation reads: its window, and what its oldest bar looks back. SpecError if unknown."""
    return lookback_of(spec.market_features) + spec.window - 1


def features_of(bars: Bars, rows: Int64, spec: ModelSpec) -> Float32:
    """Market features float32[m, n_market] of the bars `rows` int64[m], ascending. Raises as `compute_features`."""
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    found = [compute_features(bars[: int(run[-1]) + 1], spec.market_features, start=int(run[0])) for run in runs]
    return np.concatenate(found)


def account_features_of(cases: Sequence[Case], spec: ModelSpec) -> Float32:
    """Account features float32[n, k] of cases. ObservationError for an unknown one."""
    found = [account_features(case.account, spec.account_features, spec.sizing) for case in cases]
    return np.array(found, dtype=np.float32).reshape(len(cases), len(spec.account_features))


def observations_of(segments: Sequence[Segment], cases: Sequence[Case], spec: ModelSpec) -> Float32:
    """Observations float32[n, obs_dim] of cases, from the market features that their segments hold."""
    built = []
    for case in cases:
        segment = segments[case.segment]
        after = int(np.searchsorted(segment.rows, case.row)) + 1
        # into no buffer of ours: that would hide numbers of another kind
        built.append(build_observation(segment.features[after - spec.window : after], case.account, spec))
    return np.stack(built)


def digests_of(observations: Float32) -> tuple[str, ...]:
    """sha256 of each observation's little-endian float32 bytes."""
    return tuple(sha256_hex(row.astype("<f4", copy=False).tobytes()) for row in observations)


def decisions_of(
    actions: Sequence[int], segments: Sequence[Segment], cases: Sequence[Case], spec: ModelSpec, instrument: Instrument
) -> tuple[Decision, ...]:
    """The decision of each case's action at its bar's close."""
    prices = [float(segments[case.segment].bars.close[case.row]) for case in cases]
    decided = zip(actions, cases, prices, strict=True)
    return tuple(decide(int(a), spec, case.account, instrument, price) for a, case, price in decided)


def table_of(
    account: AccountState, price: float, spec: ModelSpec, instruments: Sequence[Instrument]
) -> tuple[tuple[Decision, ...], ...]:
    """The decision of every action for one account at one price, instrument by instrument."""
    return tuple(tuple(decide(a, spec, account, one, price) for a in range(spec.n_actions)) for one in instruments)
