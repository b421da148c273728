"""Leave and Turn: what a desk may do at one look, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from live.ticket import OrderReport
from mlflow_ppo_flavor.decision.account import ZERO
from mlflow_ppo_flavor.decision.action import Decision

Outcome = Literal["idle", "waiting", "mismatch", "skipped", "decided", "exiting", "failed"]


@dataclass(frozen=True, slots=True)
class Leave:
    """What a desk may do at this look; `reason` says why not all. `exit`: sell what is held instead of deciding."""

    orders: bool
    increase: bool
    exit: bool
    reason: str

    def refuses(self, quantity: Decimal, held: Decimal) -> str:
        """Why an order may not be sent; empty where it may. An increase is one in either direction."""
        is_increase = abs(held + quantity) > abs(held)
        return self.reason if not self.orders or (is_increase and not self.increase) else ""


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of one look at a symbol, and why.

    `idle`: the last bar is dealt with. `waiting`: something is missing, tried again at the next look. `mismatch`: the
    broker holds another position, `held`. `skipped`: this bar gets no decision. `decided`: it got one. `exiting`: the
    position was ordered sold without the policy.
    """

    symbol: str
    outcome: Outcome
    reason: str
    bar_time: int
    decision: Decision | None = None
    report: OrderReport | None = None
    held: Decimal = ZERO
