"""What one step of the environment costs in this tier: it is paid for every step of every episode."""

import timeit
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.decision.account import AccountState, apply_fill, mark
from mlflow_ppo_flavor.decision.action import Instrument, decide
from mlflow_ppo_flavor.decision.market import Costs, fill_at_open
from mlflow_ppo_flavor.decision.observation import build_observation

SPEC = MODEL_SPECS["2.7.0"]
STATE = AccountState(100_000.0, 90_000.0, Decimal("80.123456789"), 125.1, 101_000.0, 3, 5, Decimal(-10_000))
STOCK, COSTS = Instrument.equity("AAPL"), Costs()
FILL = fill_at_open(Decimal("-40.5"), 0, 126.0, COSTS)
MARKET = np.zeros((SPEC.window, len(SPEC.market_features)), np.float32)
OUT = np.empty(SPEC.obs_dim, np.float32)


@pytest.mark.bench
@pytest.mark.parametrize(
    ("name", "step", "microseconds"),
    [
        ("decide", lambda: decide(5, SPEC, STATE, STOCK, 125.1), 40),
        ("fill_at_open", lambda: fill_at_open(Decimal("-40.5"), 0, 126.0, COSTS), 10),
        ("apply_fill", lambda: apply_fill(STATE, FILL), 20),
        ("mark", lambda: mark(STATE, 125.3), 10),
        ("build_observation", lambda: build_observation(MARKET, STATE, SPEC, OUT), 40),
    ],
)
def test_a_step_is_cheap(name: str, step: Callable[[], object], microseconds: float) -> None:
    best = min(timeit.repeat(step, number=2_000, repeat=5)) / 2_000 * 1e6
    assert best < microseconds, f"{name}: {best:.1f} µs, expected below {microseconds} µs"
