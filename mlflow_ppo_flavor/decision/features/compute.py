"""Features of bars: which are known, how many bars they need, and their values as a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features.calendar import local_clock
from mlflow_ppo_flavor.decision.features.feature import Feature
from mlflow_ppo_flavor.decision.features.kernel import FEATURES_IN_ORDER, KERNEL
from mlflow_ppo_flavor.errors import BarsError, SpecError

FEATURES: Mapping[str, Feature] = MappingProxyType({feature.reference: feature for feature in FEATURES_IN_ORDER})
"""{reference: feature} of every market feature that this version computes, in the order of the released specs."""

_RANGES = np.array([[feature.low, feature.high, feature.degenerate] for feature in FEATURES_IN_ORDER])
_COLUMN = {reference: column for column, reference in enumerate(FEATURES)}


@dataclass(frozen=True, slots=True)
class _Plan:
    """What computing a list of features takes: columns int64[k] of the kernel, which of its features, how many bars."""

    columns: npt.NDArray[np.int64]
    wanted: npt.NDArray[np.bool_]
    lookback: int


def lookback_of(features: Sequence[str]) -> int:
    """How many bars a row of these features reads, its own included; SpecError for an unknown reference."""
    return _plan(tuple(features)).lookback


def compute_features(bars: Bars, features: Sequence[str], start: int | None = None) -> npt.NDArray[np.float32]:
    """Features of the bars from `start` on: C-contiguous float32[len(bars) - start, k], row i of bar start + i.

    `start` defaults to the first bar that has its lookback, `lookback_of(features) - 1`. A row is computed from exactly
    the lookback of each feature, so it is the same to the bit whatever `start` is and however many bars come before.
    BarsError where there are too few bars or `start` is outside; SpecError for an unknown reference.
    """
    plan = _plan(tuple(features))
    first = plan.lookback - 1 if start is None else start
    if not plan.lookback - 1 <= first < len(bars):
        _refuse(bars, plan, start)
    out = np.empty((len(bars) - first, len(plan.columns)), dtype=np.float32)
    clock = local_clock(bars.time[first:], bars.spec)
    KERNEL(
        bars.open, bars.high, bars.low, bars.close, bars.volume, clock, first, plan.wanted, plan.columns, _RANGES, out
    )
    return out


@lru_cache(maxsize=64)
def _plan(features: tuple[str, ...]) -> _Plan:
    for place, reference in enumerate(features):
        if reference not in FEATURES:
            _refuse_reference(place, reference)
    columns = np.array([_COLUMN[reference] for reference in features], dtype=np.int64)
    wanted = np.zeros(len(FEATURES), dtype=np.bool_)
    wanted[columns] = True
    return _Plan(columns, wanted, max((FEATURES[reference].lookback for reference in features), default=1))


def _refuse_reference(place: int, reference: str) -> None:
    name = reference.rpartition("@")[0]
    revisions = [feature.reference for feature in FEATURES.values() if feature.name == name]
    expected = " or ".join(revisions) or f"one of the {len(FEATURES)} market features that this version computes"
    raise SpecError(f"features[{place}]", reference, expected)


def _refuse(bars: Bars, plan: _Plan, start: int | None) -> None:
    where = f"{bars.symbol}: {len(plan.columns)} features look back {plan.lookback} bars"
    if len(bars) < plan.lookback:
        raise BarsError(
            f"{where}: found {len(bars)} bars, expected at least {plan.lookback}: "
            f"load {plan.lookback - len(bars)} earlier ones"
        )
    raise BarsError(f"{where}: found start {start}, expected a bar in [{plan.lookback - 1}, {len(bars) - 1}]")
