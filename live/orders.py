"""Placing orders so that each is placed once, whatever happens to the requests and their answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from live.problem import Kind, Problem
from live.ticket import ABSENT, REJECTED, UNKNOWN, OrderReport, Ticket, client_order_id, fill_between
from mlflow_ppo_flavor.errors import BrokerError

__all__ = ["OrderReport", "Orders", "Patience", "Ticket", "client_order_id", "fill_between"]


class OrderBook(Protocol):
    """What a broker does with orders. Each raises BrokerError, whose problem says what is known."""

    def submit(self, ticket: Ticket) -> OrderReport:
        """Send an order, once."""

    def lookup(self, client_order_id: str) -> OrderReport:
        """What became of an order; its status is `absent` where the venue says that it has none of this id."""

    def cancel(self, order_id: str) -> None:
        """Take an order back, by the venue's id."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on: `posts` sends of one order, `looks` at it after each, `wait_seconds` between two tries."""

    posts: int = 3
    looks: int = 3
    wait_seconds: float = 1.0


class Orders:
    """Places tickets that the caller has journaled before. Everything hangs on the client_order_id: a venue takes each
    id once, so that the same order may be sent again, and never a second one.
    """

    def __init__(
        self, broker: OrderBook, *, patience: Patience | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._broker, self._sleep = broker, sleep
        self.patience = patience or Patience()

    def place(self, ticket: Ticket) -> OrderReport:
        """Send an order until it is known what became of it: at the venue, `rejected` with the reason, or (patience is
        over) `unknown`.

        After every answer but a clear yes it is looked for; where the venue has none and the answer left it open, the
        same one is sent again. So one that was placed before, by an earlier process too, is found whatever a second
        try is answered: its shares may be missing for the second.
        """
        is_open, trouble = False, ""
        for attempt in range(self.patience.posts):
            if attempt:
                self._sleep(self.patience.wait_seconds)
            try:
                return self._broker.submit(ticket)
            except BrokerError as error:
                problem, trouble = _problem(error), str(error)
            if problem.kind is Kind.RATE_LIMIT:
                continue
            is_open = is_open or _leaves_open(problem)
            found = self._after(ticket, trouble, looks=self.patience.looks if is_open else 1)
            if found.status != ABSENT:
                return found
            if not _leaves_open(problem):
                break
        return OrderReport(ticket.client_order_id, UNKNOWN if is_open else REJECTED, reason=trouble)

    def report(self, ticket: Ticket) -> OrderReport:
        """What became of an order. `absent`, which ends it, only after several looks: a venue's lookup may lag.

        BrokerError where the venue can't be asked: nothing is known then.
        """
        return self._look(ticket, self.patience.looks)

    def cancel(self, ticket: Ticket) -> OrderReport:
        """Take an order back, and tell what it came to: filled where the fill was faster, not terminal where the venue
        still works on it. BrokerError as `report`.
        """
        report = self.report(ticket)
        if report.terminal:
            return report
        try:
            self._broker.cancel(report.order_id)
        except BrokerError as error:
            if _problem(error).kind is not Kind.OVER:
                raise
        found = self._look(ticket, self.patience.looks, until=lambda found: found.terminal)
        return report if found.status == ABSENT else found

    def _after(self, ticket: Ticket, trouble: str, looks: int) -> OrderReport:
        """What an order came to whose submission met trouble; `unknown` where the venue can't be asked."""
        try:
            return self._look(ticket, looks)
        except BrokerError as error:
            return OrderReport(ticket.client_order_id, UNKNOWN, reason=f"{trouble}; {error}")

    def _look(self, ticket: Ticket, looks: int, until: Callable[[OrderReport], bool] = lambda _: True) -> OrderReport:
        """Look for an order until it is there and as wanted, at most `looks` times; the last report."""
        report = self._broker.lookup(ticket.client_order_id)
        for _ in range(looks - 1):
            if report.status != ABSENT and until(report):
                break
            self._sleep(self.patience.wait_seconds)
            report = self._broker.lookup(ticket.client_order_id)
        return report


def _problem(error: BrokerError) -> Problem:
    """The problem of an error; one without is an open question like an answer that never came."""
    found = error.problem
    return found if isinstance(found, Problem) else Problem(Kind.UNREADABLE, "a request", None, None, str(error))


def _leaves_open(problem: Problem) -> bool:
    """Whether an order may stand in spite of the problem: also where a refusal isn't in the venue's own words."""
    foreign = problem.code is None and problem.kind is not Kind.UNAUTHORISED
    return problem.is_ambiguous or foreign or problem.kind is Kind.DUPLICATE
