"""One symbol's sub-account and its orders: written down first, sent once, and taken in as the venue tells them."""

from __future__ import annotations

from decimal import Decimal

from live.history import follow
from live.journal import DecisionRecord, Journal, Standing
from live.orders import OrderReport, Orders, Ticket, client_order_id, fill_between
from live.ticket import ABSENT
from mlflow_ppo_flavor.decision.account import apply_fill, mark
from mlflow_ppo_flavor.decision.bars import Bar, Bars
from mlflow_ppo_flavor.decision.market import Fill
from mlflow_ppo_flavor.errors import BrokerError

POLICY_LEG, EXIT_LEG = 0, 1


class Ledger:
    """The account of one (trader, symbol): `standing` is as the journal holds it.

    `unsent` is an order on the last bar that was written down and that the venue never got: a process died in between.
    """

    def __init__(self, trader_id: str, symbol: str, journal: Journal, orders: Orders, standing: Standing) -> None:
        self.trader_id, self.symbol, self.standing = trader_id, symbol, standing
        self._journal, self._orders = journal, orders
        self.unsent: Ticket | None = None

    @property
    def quantity(self) -> Decimal:
        """The position that the journal knows of, signed."""
        return self.standing.state.quantity

    def settle(self, last: int) -> str:
        """Take in what became of the open orders; why that can't be finished yet, or nothing.

        An order lives for one bar: what was decided before the bar that starts at `last` (UTC nanoseconds) is
        cancelled. BrokerError where the venue can't be asked.
        """
        self.unsent = None
        for ticket in self._journal.open_orders(self.symbol):
            is_current = ticket.bar_time == last
            report = self._orders.report(ticket) if is_current else self._orders.cancel(ticket)
            if is_current and report.status == ABSENT:
                self.unsent = ticket
                continue
            self._take_in(ticket, report)
            if not is_current and not report.terminal:
                return f"order {ticket.client_order_id}: still {report.status} after its bar, expected it to be over"
        return ""

    def follow(self, bars: Bars, *, revised: bool) -> None:
        """Mark the account at the close of every bar since the last mark; at the last one again if it was `revised`."""
        standing = follow(self.standing, bars)
        if revised and standing.marked == bars.time[-1]:
            standing = Standing(mark(standing.state, float(bars.close[-1])), standing.marked)
        if standing != self.standing:
            self._journal.save_account(self.symbol, standing)
            self.standing = standing

    def differs(self, held: Decimal) -> str:
        """How the broker's position differs from the account's; empty where it doesn't."""
        if held == self.quantity:
            return ""
        return f"{self.symbol}: found a position of {held:f} at the broker, the journal knows of {self.quantity:f}"

    def adopt(self, held: Decimal, bar: Bar) -> None:
        """Take the broker's position as the account's, at a bar's close and free of costs: the broker is the truth."""
        foreign = Fill(bar.time, held - self.quantity, bar.close, 0.0)
        standing = Standing(apply_fill(self.standing.state, foreign), self.standing.marked)
        self._journal.adopt(self.symbol, foreign, standing)
        self.standing = standing

    def has_acted(self, bar_time: int) -> bool:
        """Whether a bar has had its decision, or the exit that came instead of one."""
        exit_id = client_order_id(self.trader_id, self.symbol, bar_time, EXIT_LEG, 0)
        return self._journal.decided(self.symbol, bar_time) or self._journal.order(exit_id) is not None

    def order(
        self, quantity: Decimal, bar_time: int, *, leg: int, reason: str, record: DecisionRecord | None = None
    ) -> OrderReport:
        """Write an order down with its decision, durably; then send it, and take in what the venue said."""
        ticket = Ticket.of(self.trader_id, self.symbol, quantity, bar_time, leg=leg, attempt=0, reason=reason)
        with self._journal.transaction():
            self._journal.record_order(ticket)
            if record is not None:
                self._journal.record_decision(record)
        return self.send(ticket)

    def send(self, ticket: Ticket) -> OrderReport:
        """Send an order that is written down, once more or for the first time: the venue takes its id once."""
        report = self._orders.place(ticket)
        self._take_in(ticket, report)
        return report

    def give_up(self, ticket: Ticket, reason: str) -> None:
        """Let an order that the venue never got be over."""
        self._take_in(ticket, OrderReport(ticket.client_order_id, ABSENT, reason=reason))

    def cancel_all(self) -> tuple[str, ...]:
        """Cancel the open orders, and count what was filled before the venue did; why that failed, order by order."""
        failures = []
        for ticket in self._journal.open_orders(self.symbol):
            try:
                self._take_in(ticket, self._orders.cancel(ticket))
            except BrokerError as error:
                failures.append(f"order {ticket.client_order_id}: not cancelled: {error}")
        return tuple(failures)

    def _take_in(self, ticket: Ticket, report: OrderReport) -> None:
        """Apply what an order filled since it was last looked at; report, fill and account are kept together."""
        fill = fill_between(self._journal.report(ticket.client_order_id), report)
        state = self.standing.state if fill is None else apply_fill(self.standing.state, fill)
        standing = Standing(state, self.standing.marked)
        if self._journal.settle(self.symbol, ticket.client_order_id, report, fill, standing):
            self.standing = standing
