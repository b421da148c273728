"""Market features: named, revisioned functions of bars; the same bits in training, backtest and live trading."""

from mlflow_ppo_flavor.decision.features.cache import cached_features
from mlflow_ppo_flavor.decision.features.compute import FEATURES, compute_features, known_features, lookback_of
from mlflow_ppo_flavor.decision.features.feature import MAX_LOOKBACK, Feature
from mlflow_ppo_flavor.decision.features.own import OwnFeature, Window, feature_faults, own_features

__all__ = [
    "FEATURES",
    "MAX_LOOKBACK",
    "Feature",
    "OwnFeature",
    "Window",
    "cached_features",
    "compute_features",
    "feature_faults",
    "known_features",
    "lookback_of",
    "own_features",
]
