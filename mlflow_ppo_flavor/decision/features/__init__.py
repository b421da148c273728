"""Market features: named, revisioned functions of bars; the same bits in training, backtest and live trading."""

from mlflow_ppo_flavor.decision.features.cache import cached_features
from mlflow_ppo_flavor.decision.features.compute import FEATURES, compute_features, lookback_of
from mlflow_ppo_flavor.decision.features.feature import MAX_LOOKBACK, Feature

__all__ = ["FEATURES", "MAX_LOOKBACK", "Feature", "cached_features", "compute_features", "lookback_of"]
