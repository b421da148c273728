"""Behaviour digests: what features, account, observation, action, sizing and market do with fixed inputs.

Inputs are literals and bars from whole numbers (fixed_bars.py), so that a digest changes with the code alone. What
could differ between machines, and how it is kept out:
- Account, market, sizing and action add, multiply and divide in float64 and Decimal, which IEEE 754 and the decimal
  specification fix to the bit; their floats are digested as the shortest text that reads back equal.
- Features, account features and so observations use log, exp, sqrt, tanh, sine and cosine, whose last bit of float64
  may differ between C libraries. Their values are float32, as traders compare them, and counted in whole billionths
  (of the feature's range), so that what is nearly zero doesn't show a last bit either. Such a bit could show only where
  it moves a value over an edge of this rounding: about one value in 10⁷, of the some 15,000 that are digested.
- The time zone database: New York of 2015 to 2021 is history.
Another choice of inputs is another LOCK_FORMAT.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np

from mlflow_ppo_flavor.contract.digest import canonical_json, sha256_hex
from mlflow_ppo_flavor.contract.interpretation import interpret_action
from mlflow_ppo_flavor.contract.lock import LockedPackage, LockedSpec, SpecLock
from mlflow_ppo_flavor.contract.packages import FEATURES_GROUP, SPECS_GROUP, OwnPackage, installed
from mlflow_ppo_flavor.contract.releases import (
    CURRENT_MODEL_VERSION,
    CURRENT_TRADER_VERSION,
    MODEL_TRADER_COMPATIBILITY,
    known_specs,
    spec_faults,
)
from mlflow_ppo_flavor.contract.spec import Sizing
from mlflow_ppo_flavor.contract.trader import SPEC_FORMATS
from mlflow_ppo_flavor.decision.account import AccountState, apply_fill, mark
from mlflow_ppo_flavor.decision.action import SKIPS, Instrument, decide
from mlflow_ppo_flavor.decision.features import (
    Feature,
    OwnFeature,
    compute_features,
    feature_faults,
    known_features,
    own_features,
)
from mlflow_ppo_flavor.decision.fixed_accounts import (
    COSTS,
    HISTORIES,
    INSTRUMENTS,
    PRICES,
    SIZINGS,
    SPEC,
    STATES,
)
from mlflow_ppo_flavor.decision.fixed_bars import FIRST_ROW, fixed_bars
from mlflow_ppo_flavor.decision.market import Costs, Fill, fill_at_open
from mlflow_ppo_flavor.decision.observation import ACCOUNT_RANGES, account_features, build_observation
from mlflow_ppo_flavor.errors import ActionError, FeatureError

_BILLIONTHS = 1e9


def lock_of_this_code() -> SpecLock:
    """What the code that runs here promises, own features and specs of installed packages included.

    FeatureError where an installed package brings features or specs that can't be used.
    """
    faults = [fault.message for fault in (*feature_faults(), *spec_faults())]
    if faults:
        raise FeatureError("; ".join(faults))
    specs = {
        f"{family}:{version}": LockedSpec(spec.fingerprint, spec.requires_trader)
        for (family, version), spec in known_specs().items()
    }
    return SpecLock(
        model_version=CURRENT_MODEL_VERSION,
        trader_version=CURRENT_TRADER_VERSION,
        spec_formats=SPEC_FORMATS,
        matrix=dict(MODEL_TRADER_COMPATIBILITY),
        specs=specs,
        features=feature_digests(),
        behaviour=behaviour_digests(),
        packages=_packages(),
    )


def feature_digests() -> dict[str, str]:
    """{reference: digest} of every feature that this code computes, market and account, own ones included.

    A digest covers lookback, range, degenerate value, and the values of eight bars of every regime and timeframe.
    """
    features = known_features()
    market: dict[str, dict[str, list[int | str]]] = {reference: {} for reference in features}
    for name, bars in fixed_bars().items():
        matrix = compute_features(bars, tuple(features), start=FIRST_ROW)
        for reference, column in zip(features, matrix.T, strict=True):
            market[reference][name] = _counted(column, _scale(features[reference]))
    for reference in own_features():
        _check_steady(reference, market[reference])
    told = {reference: _declared(features[reference]) | {"values": values} for reference, values in market.items()}
    return {reference: _digest(value) for reference, value in (told | dict(_account_features())).items()}


def behaviour_digests() -> dict[str, str]:
    """{name of BEHAVIOURS: digest} of what account, action, market, observation and sizing do with fixed inputs."""
    return {
        "account": _digest({name: list(_history(steps)) for name, steps in HISTORIES.items()}),
        "action": _digest([list(_interpretations()), [_decided(index) for index in range(SPEC.n_actions)]]),
        "market": _digest(list(_fills())),
        "observation": _digest([_observed(state) for state in STATES]),
        "sizing": _digest([_defaults(), list(_sized())]),
    }


def _digest(value: object) -> str:
    return sha256_hex(canonical_json(value))


def _counted(values: Any, scale: float) -> list[int | str]:
    """float32 values as whole billionths of the range; what broken code answers, NaN or infinity, by its name."""
    counted = np.rint(values.astype(np.float64) / scale * _BILLIONTHS).tolist()
    return [int(number) if math.isfinite(number) else str(number) for number in counted]


def _scale(feature: Feature) -> float:
    """The range that its values are counted in. A team may declare any: of ±1e9, billionths would show no change."""
    return min(feature.scale, 1.0) if isinstance(feature, OwnFeature) else feature.scale


def _check_steady(reference: str, values: Mapping[str, Any]) -> None:
    """Refuse an own feature that answers otherwise when it is asked again, alone and in another order: FeatureError."""
    feature, package = own_features()[reference]
    for name, bars in reversed(list(fixed_bars().items())):
        again = compute_features(bars, (reference,), start=FIRST_ROW)
        if _counted(again[:, 0], _scale(feature)) != values[name]:
            raise FeatureError(
                f"{reference} ({package}): found other values for the same bars when asked again ({name}), expected "
                "the same: let it depend on its window alone, on no random number and nothing that it keeps"
            )


def _declared(feature: Feature) -> dict[str, Any]:
    bounds = {"low": feature.low, "high": feature.high, "degenerate": feature.degenerate}
    return {"lookback": feature.lookback} | {name: float(value) for name, value in bounds.items()}


def _account_features() -> Iterator[tuple[str, dict[str, Any]]]:
    for reference, (low, high) in ACCOUNT_RANGES.items():
        cases = product(STATES, SIZINGS)
        values = np.concatenate([account_features(state, (reference,), sizing) for state, sizing in cases])
        yield reference, {"low": low, "high": high, "values": _counted(values, high - low)}


def _history(steps: Sequence[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """The account after each step, with everything that is derived from it."""
    state = AccountState.start(10_000.0)
    for time, (kind, *values) in enumerate(steps):
        if kind == "mark":
            state = mark(state, *values)
        else:
            quantity, price, fee = values
            state = apply_fill(state, Fill(time, Decimal(quantity), price, fee))
        derived = ("equity", "position_value", "total_pnl", "trade_pnl", "win_rate", "drawdown")
        yield state.to_dict() | {name: getattr(state, name) for name in derived}


def _interpretations() -> Iterator[list[Any]]:
    """What each index means, as Python's integer and numpy's, and what is refused."""
    indices = [kind(index) for index in range(SPEC.n_actions) for kind in (int, np.int64, np.uint8)]
    for index in (*indices, -1, SPEC.n_actions, True, 1.0, np.float32(1.0), np.bool_(True), "1"):
        name = type(index).__name__
        try:
            yield [name, str(index), list(interpret_action(index, SPEC))]  # type: ignore[arg-type]
        except ActionError:
            yield [name, str(index), "refused"]


def _decided(index: int) -> list[Any]:
    """What a decision records of its action."""
    decision = decide(index, SPEC, STATES[1], INSTRUMENTS[0], 100.0)
    return [decision.action, decision.meaning, decision.direction, decision.size, decision.equity, decision.price]


def _fills() -> Iterator[Any]:
    yield Costs().to_dict()
    for quantity, price, costs in product(("1", "-1", "0.000000001", "1234.5", "-7"), PRICES, COSTS):
        yield fill_at_open(Decimal(quantity), 1_600_000_000_000_000_000, price, costs).to_dict()


def _observed(state: AccountState) -> list[Any]:
    """An observation of two market features over three bars, whole numbers, and the account: kind and order."""
    market = np.arange(6, dtype=np.float32).reshape(3, 2) - np.float32(2.0)
    observation = build_observation(market, state, SPEC)
    return [observation.dtype.name, *_counted(observation, 1.0)]


def _defaults() -> list[Any]:
    instruments = [Instrument.equity("A"), Instrument.equity("A", fractionable=False), Instrument.crypto("A/B")]
    return [Sizing().to_dict(), sorted(SKIPS), [instrument.to_dict() for instrument in instruments]]


def _sized() -> Iterator[list[Any]]:
    """Quantity, worth and reason for every action × account × instrument × price × sizing."""
    for sizing in SIZINGS:
        spec = replace(SPEC, sizing=sizing)
        for index, state, instrument, price in product(range(spec.n_actions), STATES, INSTRUMENTS, PRICES):
            decision = decide(index, spec, state, instrument, price)
            yield [f"{decision.quantity:f}", decision.notional, decision.skipped]


def _packages() -> dict[str, LockedPackage]:
    found: dict[str, list[OwnPackage]] = {}
    for package in (*installed(FEATURES_GROUP), *installed(SPECS_GROUP)):
        found.setdefault(package.name, []).append(package)
    return {
        name: LockedPackage(
            each[0].version,
            tuple(sorted(p.entry.name for p in each if p.entry.group == FEATURES_GROUP)),
            tuple(sorted(p.entry.name for p in each if p.entry.group == SPECS_GROUP)),
        )
        for name, each in found.items()
    }
