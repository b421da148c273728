"""What account, action, market, observation and sizing are digested on: literals, so that they never change."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from mlflow_ppo_flavor.contract.spec import Action, BarSpec, ModelSpec, Sizing
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.market import Costs

_ACTIONS = (
    Action("HOLD", 0, 0.0),
    *(Action(f"BUY_{share}%", 1, share / 100) for share in (25, 50, 100)),
    *(Action(f"SELL_{share}%", -1, share / 100) for share in (25, 50, 100)),
)
_ACCOUNT = (
    "total_pnl@1",
    "win_rate@1",
    "drawdown@1",
    "position_size@1",
    "available_cash@1",
    "account_value@1",
)
SPEC = ModelSpec(
    "1.0.0", ">=1.0.0", ("return_1@1", "body@1", *_ACCOUNT), _ACTIONS, bars=BarSpec("1Day", "all"), window=3
)
SIZINGS = (
    Sizing(0.15, 0.30, 0.20, allow_short=False),
    Sizing(0.15, 0.30, 0.20, allow_short=True),
    Sizing(1.0, 0.0, 1.0, allow_short=True),
    Sizing(0.5, 0.1, 0.0, allow_short=False),
)
INSTRUMENTS = (
    Instrument("PARTS", Decimal("1e-9"), Decimal("1e-9"), Decimal(1), shortable=True, fractionable=True),
    Instrument("WHOLE", Decimal(1), Decimal(1), Decimal(0), shortable=True, fractionable=False),
    Instrument("LONG_ONLY", Decimal("0.01"), Decimal("0.05"), Decimal(25), shortable=False, fractionable=True),
    Instrument("LOTS", Decimal(100), Decimal(100), Decimal(0), shortable=True, fractionable=False),
)
PRICES = (0.0003, 7.31, 100.0, 65_000.5)
COSTS = (Costs(5.0, 0.0), Costs(0.0, 0.0), Costs(12.5, 25.0))


def _state(
    cash: float, quantity: str, price: float, *, peak: float = 10_000.0, wins: int = 0, trades: int = 0, flow: str = "0"
) -> AccountState:
    return AccountState(10_000.0, cash, Decimal(quantity), price, peak, wins, trades, Decimal(flow))


STATES = (
    _state(10_000.0, "0", 0.0),
    _state(9_000.0, "10", 100.0, peak=10_250.0, wins=1, trades=2, flow="-1000"),
    _state(8_000.0, "20.5", 97.6, flow="-2001.25"),
    _state(4_000.0, "80", 100.0, peak=12_500.0, wins=7, trades=9, flow="-6000"),
    _state(1_500.0, "0.000000001", 7.31, peak=11_000.0, wins=1, trades=3, flow="-0.00000001"),
    _state(10_700.0, "-7", 100.0, flow="700"),
    _state(11_000.5, "-0.5", 65_000.5, peak=11_500.0, wins=2, trades=2, flow="30000"),
    _state(0.5, "0", 7.31, peak=13_000.0, wins=3, trades=11),
    _state(-500.0, "2", 100.0, peak=10_000.0, flow="-10500"),
    _state(2_500_000.0, "0", 100.0, peak=2_600_000.0, wins=40, trades=41),
)
# ("fill", quantity, price, fee) and ("mark", price): scaling in and out, short, through zero, even, ruined
HISTORIES: Mapping[str, tuple[tuple[Any, ...], ...]] = MappingProxyType(
    {
        "long": (
            ("mark", 100.0),
            ("fill", "10", 101.0, 0.5),
            ("mark", 105.0),
            ("fill", "5.5", 104.25, 0.25),
            ("mark", 111.5),
            ("fill", "-3", 110.9, 0.125),
            ("mark", 90.0),
            ("fill", "-12.5", 89.1, 1.0),
            ("mark", 90.3),
        ),
        "short": (
            ("fill", "-7", 50.0, 0.0),
            ("mark", 45.0),
            ("fill", "-3", 44.0, 0.07),
            ("mark", 46.0),
            ("fill", "4", 43.0, 0.0),
            ("fill", "6", 47.0, 0.3),
            ("mark", 47.0),
        ),
        "through zero": (("fill", "2", 20.0, 0.1), ("fill", "-5", 22.0, 0.5), ("mark", 21.0), ("fill", "3", 19.5, 0.3)),
        "even": (("fill", "0.1", 0.3, 0.0), ("fill", "0.2", 0.3, 0.0), ("fill", "-0.3", 0.3, 0.0), ("mark", 0.3)),
        "rebate": (("fill", "1.000000001", 99.99, -0.02), ("fill", "-1.000000001", 99.98, -0.02), ("mark", 99.98)),
        "ruined": (("fill", "100", 99.0, 1.0), ("mark", 1e-6), ("fill", "-200", 60.0, 1.0), ("mark", 250.0)),
    }
)
