"""The released specs, their matrix, the current versions; with them the own specs. Feature names are literals here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from packaging.version import Version

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.packages import SPECS_GROUP, Brought, OwnPackage, PackageFault, bring, members
from mlflow_ppo_flavor.contract.spec import ACCOUNT_FEATURE_NAMES, FORMAT, RELEASED_FAMILY, Action, ModelSpec
from mlflow_ppo_flavor.errors import SpecError

CURRENT_MODEL_VERSION = "2.7.0"
CURRENT_TRADER_VERSION = "2.7.0"

# model version -> the lowest trader version that runs it
MODEL_TRADER_COMPATIBILITY: Mapping[str, str] = MappingProxyType(
    {
        "2.3.0": "2.3.0",
        "2.4.0": "2.4.0",
        "2.5.0": "2.4.0",
        "2.6.0": "2.4.0",
        "2.7.0": "2.7.0",
    }
)

# fmt: off
MARKET_FEATURES: tuple[str, ...] = (
    "return_1@1", "return_2@1", "return_5@1", "return_10@1", "return_20@1", "return_60@1",
    "body@1", "upper_shadow@1", "lower_shadow@1", "close_location@1", "range_pct@1",
    "gap_1@1", "gap_mean_abs_20@1",
    "sma_distance_10@1", "sma_distance_20@1", "sma_distance_50@1", "sma_distance_200@1",
    "ema_distance_12@1", "ema_distance_26@1",
    "macd_12_26@1", "macd_signal_9@1", "macd_histogram@1",
    "adx_14@1", "plus_di_14@1", "minus_di_14@1",
    "rsi_7@1", "rsi_14@1", "stochastic_k_14@1", "stochastic_d_14@1", "roc_12@1", "cci_20@1", "williams_r_14@1",
    "mfi_14@1",
    "atr_14@1", "bollinger_width_20@1", "bollinger_position_20@1",
    "realised_volatility_5@1", "realised_volatility_20@1", "realised_volatility_60@1", "parkinson_20@1",
    "volume_z_20@1", "obv_slope_20@1", "vwap_distance_20@1",
    "regime_up@1", "regime_down@1", "regime_range@1", "regime_volatile@1",
    "hour_sin@1", "hour_cos@1", "weekday_sin@1", "weekday_cos@1", "month_sin@1", "month_cos@1",
)
# fmt: on
_ACCOUNT = tuple(f"{name}@1" for name in ACCOUNT_FEATURE_NAMES)
_THREE_ACTIONS = (Action("HOLD", 0, 0.0), Action("BUY", 1, 0.5), Action("SELL", -1, 0.5))
_SEVEN_ACTIONS = (
    Action("HOLD", 0, 0.0),
    *(Action(f"BUY_{share}%", 1, share / 100) for share in (25, 50, 75)),
    *(Action(f"SELL_{share}%", -1, share / 100) for share in (25, 50, 75)),
)


def _released(
    version: str, features: tuple[str, ...], actions: tuple[Action, ...], breaking_changes: str = ""
) -> ModelSpec:
    requires = f">={MODEL_TRADER_COMPATIBILITY[version]}"
    return ModelSpec(version, requires, features, actions, breaking_changes=breaking_changes)


MODEL_SPECS: Mapping[str, ModelSpec] = MappingProxyType(
    {
        spec.version: spec
        for spec in (
            _released("2.3.0", MARKET_FEATURES, _THREE_ACTIONS),
            _released(
                "2.4.0",
                MARKET_FEATURES + _ACCOUNT[:3],
                _THREE_ACTIONS,
                "56 features: the account is observed",
            ),
            _released("2.5.0", MARKET_FEATURES + _ACCOUNT[:3], _THREE_ACTIONS),
            _released("2.6.0", MARKET_FEATURES + _ACCOUNT[:3], _THREE_ACTIONS),
            _released(
                "2.7.0",
                MARKET_FEATURES + _ACCOUNT,
                _SEVEN_ACTIONS,
                "7 sized actions; 59 features: the position is observed",
            ),
        )
    }
)


def known_specs() -> Mapping[tuple[str, str], ModelSpec]:
    """{(family, version): spec}: the released specs, then those of the own packages that are installed here.

    A package whose specs can't be used brings none; `spec_faults` says why.
    """
    released = {(spec.family, spec.version): spec for spec in MODEL_SPECS.values()}
    own = {(spec.family, spec.version): spec for _, specs in _brought().values.values() for spec in specs}
    return MappingProxyType(released | own)


def spec_faults() -> tuple[PackageFault, ...]:
    """Why packages' own specs can't be used: what was found and expected, as values."""
    return _brought().faults


def spec_named(name: str, path: str = "spec") -> ModelSpec:
    """The released spec of a version, `2.7.0`, or an own one, `acme:1.0.0`; SpecError for a name of neither."""
    if name in MODEL_SPECS:
        return MODEL_SPECS[name]
    family, _, version = name.rpartition(":")
    specs = known_specs()
    if (family, version) in specs:
        return specs[family, version]
    own = (f"{spec.family}:{spec.version}" for spec in specs.values() if spec.family != RELEASED_FAMILY)
    raise SpecError(path, parsing.show(name), f"one of {', '.join((*MODEL_SPECS, *own))}", _brought().fault_of(family))


@cache
def _brought() -> Brought[ModelSpec]:
    return bring(SPECS_GROUP, _read_own)


def _read_own(value: object, package: OwnPackage) -> tuple[ModelSpec, ...]:
    """The specs of one entry point; SpecError for the first thing that is wrong."""
    family = package.entry.name
    if family == RELEASED_FAMILY:
        raise SpecError(package.place, f"the family {family}, which is built in", "a family of its own, such as acme")
    specs = members(value, package, ModelSpec)
    for i, spec in enumerate(specs):
        if spec.family != family:
            raise SpecError(f"{package.place}[{i}].family", spec.family, f"{family}, as the entry point is named")
    parsing.unique(tuple(spec.version for spec in specs), package.place)
    return specs


def features_of_trader(version: str) -> tuple[str, ...]:
    """The features that the released trader of this version computes: those of every spec that it runs, in order."""
    runnable = [
        MODEL_SPECS[model]
        for model, lowest in MODEL_TRADER_COMPATIBILITY.items()
        if Version(version) >= Version(lowest)
    ]
    return tuple(dict.fromkeys(feature for spec in runnable for feature in spec.features))


def get_checkpoint_metadata(spec: ModelSpec = MODEL_SPECS[CURRENT_MODEL_VERSION]) -> dict[str, Any]:
    """The protocol's keys of a checkpoint, with the whole spec beside them: plain types only."""
    return {
        "model_version": spec.version,
        "min_trader_version": spec.min_trader_version,
        "n_features": spec.n_features,
        "n_actions": spec.n_actions,
        "obs_dim": spec.obs_dim,
        "action_meanings": spec.action_meanings,
        "spec_format": FORMAT,
        "spec": spec.to_dict(),
    }
