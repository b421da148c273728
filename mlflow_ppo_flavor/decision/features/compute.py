"""Features of bars: which are known, how many bars they need, and their values as a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from mlflow_ppo_flavor.contract.packages import OwnPackage
from mlflow_ppo_flavor.contract.spec import feature_name
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.features.calendar import local_clock
from mlflow_ppo_flavor.decision.features.feature import Feature
from mlflow_ppo_flavor.decision.features.kernel import FEATURES_IN_ORDER, KERNEL
from mlflow_ppo_flavor.decision.features.own import own_features, reason_against
from mlflow_ppo_flavor.decision.features.own_column import OwnColumn
from mlflow_ppo_flavor.errors import BarsError, SpecError

FEATURES: Mapping[str, Feature] = MappingProxyType({feature.reference: feature for feature in FEATURES_IN_ORDER})
"""{reference: feature} of every market feature that this version computes, in the order of the released specs."""

_RANGES = np.array([[feature.low, feature.high, feature.degenerate] for feature in FEATURES_IN_ORDER])
_COLUMN = {reference: column for column, reference in enumerate(FEATURES)}


def known_features() -> Mapping[str, Feature]:
    """{reference: feature} of the built-in features, then of the own packages that are installed here.

    A package whose features can't be used brings none: a warning says why, and `feature_faults` has it as a value.
    """
    own = {reference: feature for reference, (feature, _) in own_features().items()}
    return MappingProxyType({**FEATURES, **own})


@dataclass(frozen=True, slots=True)
class _Plan:
    """What computing a list of features takes: columns int64[m] of the kernel, which of its features, how many bars.

    `places` int64[m] are the columns of the result that the kernel fills, `own` fill the others.
    """

    columns: npt.NDArray[np.int64]
    wanted: npt.NDArray[np.bool_]
    lookback: int
    places: npt.NDArray[np.int64]
    own: tuple[OwnColumn, ...] = ()


def lookback_of(features: Sequence[str]) -> int:
    """How many bars a row of these features reads, its own included; SpecError for an unknown reference."""
    return _plan(tuple(features)).lookback


def own_packages_of(features: Sequence[str]) -> tuple[OwnPackage, ...]:
    """The own packages that bring some of these features, each once; SpecError for an unknown reference."""
    return tuple(dict.fromkeys(column.package for column in _plan(tuple(features)).own))


def compute_features(bars: Bars, features: Sequence[str], start: int | None = None) -> npt.NDArray[np.float32]:
    """Features of the bars from `start` on: C-contiguous float32[len(bars) - start, k], row i of bar start + i.

    `start` defaults to the first bar that has its lookback, `lookback_of(features) - 1`. A row is computed from exactly
    the lookback of each feature, so it is the same to the bit whatever `start` is and however many bars come before.
    BarsError where there are too few bars or `start` is outside; SpecError for an unknown reference; FeatureError where
    an own feature fails.
    """
    plan = _plan(tuple(features))
    first = plan.lookback - 1 if start is None else start
    if not plan.lookback - 1 <= first < len(bars):
        _refuse(bars, len(features), plan, start)
    if not plan.own:
        return _built_in(bars, plan, first)
    out = np.empty((len(bars) - first, len(features)), dtype=np.float32)
    if len(plan.places):
        out[:, plan.places] = _built_in(bars, plan, first)
    for column in plan.own:
        column.fill(bars, first, out)
    return out


def _built_in(bars: Bars, plan: _Plan, first: int) -> npt.NDArray[np.float32]:
    """The kernel's features of the bars from `first` on: C-contiguous float32[len(bars) - first, m]."""
    out = np.empty((len(bars) - first, len(plan.columns)), dtype=np.float32)
    clock = local_clock(bars.time[first:], bars.spec)
    KERNEL(
        bars.open, bars.high, bars.low, bars.close, bars.volume, clock, first, plan.wanted, plan.columns, _RANGES, out
    )
    return out


@lru_cache(maxsize=64)
def _plan(features: tuple[str, ...]) -> _Plan:
    own = tuple(_own_column(place, ref) for place, ref in enumerate(features) if ref not in FEATURES)
    places = [place for place, ref in enumerate(features) if ref in FEATURES]
    columns = np.array([_COLUMN[features[place]] for place in places], dtype=np.int64)
    wanted = np.zeros(len(FEATURES), dtype=np.bool_)
    wanted[columns] = True
    lookbacks = [FEATURES[features[place]].lookback for place in places] + [column.feature.lookback for column in own]
    return _Plan(columns, wanted, max(lookbacks, default=1), np.array(places, dtype=np.int64), own)


def _own_column(place: int, reference: str) -> OwnColumn:
    if reference not in own_features():
        _refuse_reference(place, reference)
    return OwnColumn(place, *own_features()[reference])


def _refuse_reference(place: int, reference: str) -> None:
    name, known = feature_name(reference), known_features()
    revisions = [feature.reference for feature in known.values() if feature.name == name]
    expected = " or ".join(revisions) or f"one of the {len(known)} market features that this version computes"
    if "/" in name and not revisions:
        namespace = name.partition("/")[0]
        expected = f"a feature that an installed package brings for {namespace}"
    raise SpecError(f"features[{place}]", reference, expected, reason_against(reference))


def _refuse(bars: Bars, count: int, plan: _Plan, start: int | None) -> None:
    where = f"{bars.symbol}: {count} features look back {plan.lookback} bars"
    if len(bars) < plan.lookback:
        raise BarsError(
            f"{where}: found {len(bars)} bars, expected at least {plan.lookback}: "
            f"load {plan.lookback - len(bars)} earlier ones"
        )
    raise BarsError(f"{where}: found start {start}, expected a bar in [{plan.lookback - 1}, {len(bars) - 1}]")
