"""The released specs, the compatibility matrix and the current versions. Feature names stand here as literals."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from packaging.version import Version

from mlflow_ppo_flavor.contract.spec import ACCOUNT_FEATURE_NAMES, FORMAT, Action, ModelSpec

CURRENT_MODEL_VERSION = "2.7.0"
CURRENT_TRADER_VERSION = "2.7.0"

# model version -> the lowest trader version that runs it
MODEL_TRADER_COMPATIBILITY: Mapping[str, str] = MappingProxyType(
    {"2.3.0": "2.3.0", "2.4.0": "2.4.0", "2.5.0": "2.4.0", "2.6.0": "2.4.0", "2.7.0": "2.7.0"}
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
