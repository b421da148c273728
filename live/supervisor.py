"""What the desks may do, look by look: limits, conduct and the day's loss; a change is written down and told once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, time

from live.broker import BrokerAccount
from live.journal import Journal
from live.record import ConductState
from live.risk import RiskLimits, RiskView, assess
from live.turn import Leave
from mlflow_ppo_flavor.contract.spec import BarSpec
from mlflow_ppo_flavor.decision.bar_time import exchange_zone


@dataclass(frozen=True, slots=True)
class Day:
    """The exchange's day of a look: what all accounts were worth when it began, and its first instant (UTC ns)."""

    equity: float
    midnight: int


class Supervisor:
    """The limits of one trader, and its conduct. `report` is told of every change."""

    def __init__(self, journal: Journal, limits: RiskLimits, report: Callable[[str], None]) -> None:
        self._journal, self._limits, self._report = journal, limits, report
        self._told: dict[str, tuple[str, ...]] = {}

    def day(self, now: int, bars: BarSpec, equity: float) -> Day:
        """The exchange's day at `now`; its first equity is that of its first look, before any bar of it is taken in."""
        zone = exchange_zone(bars.time_zone)
        date = datetime.fromtimestamp(now // 1_000_000_000, zone).date()
        known = self._journal.day_start(date)
        if known is None:
            known = equity
            self._journal.set_day_start(date, known)
        return Day(known, int(datetime.combine(date, time(), zone).timestamp()) * 1_000_000_000)

    def view(self, day: Day, equity: float, account: BrokerAccount) -> RiskView:
        """What the limits are held against at this look; a loss beyond the limit halts the trader for good."""
        view = RiskView(
            equity=equity,
            day_start_equity=day.equity,
            conduct=self._journal.conduct(),
            kill_switch=self._journal.kill_switch(),
            account_blocked=account.blocked,
            blocked_reason=account.reason,
        )
        verdict = assess(self._limits, view)
        if verdict.halt:
            self.conduct("HALTED", verdict.reason)
        return replace(view, conduct=self._journal.conduct())

    def leave(self, symbol: str, view: RiskView, day: Day, overdue: float) -> Leave:
        """What the desk of a symbol may do now whose newest bar is `overdue` by so many seconds."""
        orders = self._journal.orders_since(day.midnight)
        verdict = assess(self._limits, replace(view, orders_today=orders, overdue_seconds=overdue))
        self._tell(symbol, verdict.reason)
        leaves = verdict.flatten or view.conduct.state == "REDUCING"
        return Leave(verdict.allow_orders, verdict.allow_increase, leaves, verdict.reason)

    def conduct(self, state: ConductState, reason: str) -> None:
        """Change the conduct; only an operator ends a halt."""
        present = self._journal.conduct()
        if present.state not in (state, "HALTED"):
            self._journal.set_conduct(state, reason)
            self.note("conduct", f"{present.state} → {state}: {reason}")

    def note(self, kind: str, reason: str, symbol: str | None = None) -> None:
        """Write an event down and tell it."""
        self._journal.note(kind, symbol, reason, {})
        self._report(reason)

    def _tell(self, symbol: str, reason: str) -> None:
        """Tell why a desk may not do all, once until the kind of reason changes: the numbers in it always do."""
        kinds = tuple(part.partition(":")[0] for part in reason.split("; ")) if reason else ()
        before = self._told.get(symbol, ())
        self._told[symbol] = kinds
        if kinds == before:
            return
        self.note("restricted" if kinds else "unrestricted", f"{symbol}: {reason or 'all is allowed again'}", symbol)
