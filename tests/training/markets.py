"""A small spec and the generated series, ready to trade: what the tests of engine, environment and evaluation share."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.market import Costs
from training.backtest import Engine
from training.series import mean_reverting_bars

INSTRUMENT = Instrument.equity("MEANREV")
COSTS = Costs(spread_bps=5.0, commission_bps=2.0)
HOLD, BUY_25, BUY_50, BUY_75, SELL_25, SELL_50, SELL_75 = range(7)


def small_spec() -> ModelSpec:
    """The actions, sizing and account features of 2.7.0 with 4 market features and a window of 5: obs_dim 50."""
    released = MODEL_SPECS["2.7.0"]
    market = ("return_1@1", "return_5@1", "bollinger_position_20@1", "sma_distance_20@1")
    small = replace(released, features=market + released.account_features, window=5)
    return small.for_bars(timeframe="1Day", adjustment="all", symbols=["MEANREV"])


@cache
def bars(length: int = 400, seed: int = 0) -> Bars:
    """The generated mean-reverting series."""
    return mean_reverting_bars(length=length, seed=seed)


@cache
def engine(length: int = 400, costs: Costs = COSTS) -> Engine:
    """The small spec over the generated series."""
    return Engine.prepare(bars(length), small_spec(), INSTRUMENT, costs)
