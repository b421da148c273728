"""A team's own features: from its installed packages by entry points, loaded when first asked for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.packages import FEATURES_GROUP, Brought, OwnPackage, PackageFault, bring, members
from mlflow_ppo_flavor.contract.spec import ACCOUNT_FEATURE_NAMES
from mlflow_ppo_flavor.decision.bar_check import Columns
from mlflow_ppo_flavor.decision.features.feature import MAX_LOOKBACK, Feature
from mlflow_ppo_flavor.decision.features.kernel import FEATURES_IN_ORDER
from mlflow_ppo_flavor.errors import SpecError

_NAMESPACE = re.compile(r"[a-z][a-z0-9_.-]*")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MOST_REVISIONS = 10**6
_WIDEST = 1e30

Window = Columns
"""The bars that a feature reads: `time` int64[lookback], `open` to `volume` float64[lookback], oldest first."""


@dataclass(frozen=True, slots=True)
class OwnFeature(Feature):
    """A feature of an own package, `acme/name`, and the function of its window that defines it.

    `compute` is given exactly the `lookback` bars that end at the value's bar, oldest first: read-only arrays `time`
    (int64, UTC nanoseconds of the bar's start), `open`, `high`, `low`, `close`, `volume` (float64). It answers one
    number: NaN where the value is undefined, which becomes `degenerate`; what lies beyond [low, high] is clipped; the
    result is rounded once to float32. The same window must give the same number, whatever was computed before.
    """

    compute: Callable[[Window], float]


@cache
def own_features() -> Mapping[str, tuple[OwnFeature, OwnPackage]]:
    """{reference: (feature, its package)} of all own features that can be used; each fault is warned of, once."""
    brought = _brought()
    for fault in brought.faults:
        warnings.warn(f"{fault.message}: its features can't be used", stacklevel=2)
    found = {f.reference: (f, package) for package, features in brought.values.values() for f in features}
    return MappingProxyType(found)


def feature_faults() -> tuple[PackageFault, ...]:
    """Why packages' own features can't be used: what was found and expected, as values."""
    return _brought().faults


def reason_against(reference: str) -> str:
    """Why the own features of that reference's namespace can't be used; empty where no package is known to bring it."""
    namespace, slash, _ = reference.rpartition("/")
    return _brought().fault_of(namespace) if slash else ""


@cache
def _brought() -> Brought[OwnFeature]:
    return bring(FEATURES_GROUP, _read)


def _read(value: object, package: OwnPackage) -> tuple[OwnFeature, ...]:
    """The features of one entry point; SpecError for the first thing that is wrong."""
    namespace = package.entry.name
    parsing.name(namespace, package.place, pattern=_NAMESPACE, expected="a namespace such as acme")
    features = members(value, package, OwnFeature)
    for i, feature in enumerate(features):
        _check(feature, namespace, f"{package.place}[{i}]")
    parsing.unique(tuple(feature.reference for feature in features), package.place)
    return features


def _check(feature: OwnFeature, namespace: str, path: str) -> None:
    _check_name(feature.name, namespace, f"{path}.name")
    parsing.integer(feature.revision, f"{path}.revision", low=1, high=_MOST_REVISIONS)
    parsing.integer(feature.lookback, f"{path}.lookback", low=1, high=MAX_LOOKBACK)
    for name in ("low", "high"):
        _check_float32(getattr(feature, name), f"{path}.{name}")
    if not feature.low < feature.high:
        raise SpecError(f"{path}.high", feature.high, f"more than low, {feature.low:g}")
    parsing.number(feature.degenerate, f"{path}.degenerate", low=feature.low, high=feature.high)
    parsing.text(feature.description, f"{path}.description", empty=False)
    if not callable(feature.compute):
        raise SpecError(f"{path}.compute", parsing.show(feature.compute), "a function of the window")


def _check_name(name: object, namespace: str, path: str) -> None:
    expected = f"a name such as {namespace}/momentum"
    found = parsing.text(name, path)
    if found in {feature.name for feature in FEATURES_IN_ORDER}:
        raise SpecError(path, f"{found}, which is built in", expected)
    if found in ACCOUNT_FEATURE_NAMES:
        raise SpecError(path, f"{found}, which is the account's", expected)
    if not found.startswith(f"{namespace}/") or not _NAME.fullmatch(found.removeprefix(f"{namespace}/")):
        raise SpecError(path, parsing.show(found), expected)


def _check_float32(value: object, path: str) -> None:
    """A bound that float32 holds exactly, so that rounding can't leave the range."""
    number = parsing.number(value, path, low=-_WIDEST, high=_WIDEST)
    if float(np.float32(number)) != number:
        raise SpecError(path, parsing.show(value), "a number that float32 holds exactly")
