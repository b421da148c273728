"""What the trader may do now: limits on loss, orders and stale data, and every reason. Pure: all of it is arguments."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from live.record import Conduct
from mlflow_ppo_flavor.contract import parsing

DAILY_LOSS = "daily_loss"
"""How the reason of a halt begins that flattens: it does so again after a restart, until nothing is held."""
_ACTIVE = Conduct("ACTIVE")


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """The limits of one trader. How large a position may be is the spec's `max_position`, not told here.

    `max_daily_loss` is a share of the day's first equity (None: no limit); `max_orders_per_day` stops increases;
    `max_overdue_seconds` is how late the newest bar may be.
    """

    max_daily_loss: float | None = None
    max_orders_per_day: int = 100
    max_overdue_seconds: float = 900.0

    def to_dict(self) -> dict[str, Any]:
        """The limits as JSON values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> RiskLimits:
        """Read limits; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [field.name for field in fields(cls)], where="limits")
        return cls(
            max_daily_loss=parsing.take(read, "max_daily_loss", path, _read_share),
            max_orders_per_day=parsing.take(read, "max_orders_per_day", path, parsing.integer, low=0, high=10**6),
            max_overdue_seconds=parsing.take(read, "max_overdue_seconds", path, parsing.number, low=0.0, high=1e9),
        )


@dataclass(frozen=True, slots=True)
class RiskView:
    """What the limits are held against: money now and at the day's start (None: not known yet), and the state of all
    else.

    `conduct` is as the journal holds it; `overdue_seconds` is how late the newest bar is.
    """

    equity: float
    day_start_equity: float | None
    conduct: Conduct = _ACTIVE
    kill_switch: bool = False
    account_blocked: bool = False
    blocked_reason: str = ""
    orders_today: int = 0
    overdue_seconds: float = 0.0

    @property
    def daily_loss(self) -> float:
        """The loss since the day's start as a share of it; 0 without one, infinite where equity isn't a number."""
        if not math.isfinite(self.equity):
            return math.inf
        if self.day_start_equity is None or self.day_start_equity <= 0:
            return 0.0
        return max((self.day_start_equity - self.equity) / self.day_start_equity, 0.0)


@dataclass(frozen=True, slots=True)
class RiskVerdict:
    """What is allowed. `allow_orders` False: none at all, not even to reduce. `allow_increase` False: reductions only.

    `halt`: stay halted, over restarts, until an operator says otherwise. `flatten`: sell what is held, now.
    `reason` holds every reason, joined by "; ", and is "" where all is allowed.
    """

    allow_increase: bool
    allow_orders: bool
    halt: bool
    flatten: bool
    reason: str


def assess(limits: RiskLimits, view: RiskView) -> RiskVerdict:
    """The verdict on a view: every reason counts, and none makes another one's refusal milder."""
    lost = _loss_reasons(limits, view)
    stopped = _stop_reasons(limits, view)
    narrowed = _narrow_reasons(limits, view)
    halted = view.conduct.state == "HALTED"
    allow_orders = not stopped
    return RiskVerdict(
        allow_increase=not (lost or stopped or narrowed),
        allow_orders=allow_orders,
        halt=halted or bool(lost),
        flatten=bool(lost) and allow_orders,
        reason="; ".join((*lost, *stopped, *narrowed)),
    )


def _loss_reasons(limits: RiskLimits, view: RiskView) -> list[str]:
    """Why all has to be sold: the day's loss now, or the halt that one left behind."""
    if view.conduct.state == "HALTED" and view.conduct.reason.startswith(DAILY_LOSS):
        return [view.conduct.reason]
    if limits.max_daily_loss is None or not math.isfinite(view.equity) or view.daily_loss < limits.max_daily_loss:
        return []
    found = f"{view.daily_loss:.2%} of {view.day_start_equity:.2f} lost today"
    return [f"{DAILY_LOSS}: {found}, the limit is {limits.max_daily_loss:.2%}"]


def _stop_reasons(limits: RiskLimits, view: RiskView) -> list[str]:
    """Why no order may go out at all."""
    reasons = []
    if view.conduct.state == "HALTED" and not view.conduct.reason.startswith(DAILY_LOSS):
        reasons.append(f"halted: {view.conduct.reason or 'without a reason'}")
    if view.kill_switch:
        reasons.append("kill_switch: the file KILL is in the state directory: remove it to go on")
    if view.account_blocked:
        reasons.append(f"account_blocked: {view.blocked_reason or 'the venue blocks the account'}")
    if not math.isfinite(view.equity):
        reasons.append(f"equity: found {view.equity}, expected a finite number")
    if not view.overdue_seconds <= limits.max_overdue_seconds:
        found = f"the newest bar is {view.overdue_seconds:.0f} s late"
        reasons.append(f"stale_data: {found}, the limit is {limits.max_overdue_seconds:.0f} s")
    return reasons


def _narrow_reasons(limits: RiskLimits, view: RiskView) -> list[str]:
    """Why positions may only be reduced. A limit on orders isn't one on reductions: the position bounds those."""
    reasons = []
    if view.conduct.state == "REDUCING":
        reasons.append(f"reducing: {view.conduct.reason or 'without a reason'}")
    if view.orders_today >= limits.max_orders_per_day:
        reasons.append(f"order_limit: {view.orders_today} orders today, the limit is {limits.max_orders_per_day}")
    return reasons


def _read_share(value: object, path: str) -> float | None:
    """None, or a share in (0, 1]: a limit of 0 would sell everything on the first cent."""
    return None if value is None else parsing.number(value, path, low=1e-6, high=1.0)
