"""An order as the trader knows it: the ticket written before it is sent, what was reported of it, what was filled."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.decision.account import ZERO
from mlflow_ppo_flavor.decision.market import EXACT, MAX_PRICE, MIN_PRICE, Fill, read_decimal
from mlflow_ppo_flavor.errors import SpecError

MAX_ID = 128
ABSENT, UNKNOWN, REJECTED = "absent", "unknown", "rejected"
TERMINAL = frozenset({"filled", "canceled", "expired", "replaced", REJECTED, ABSENT})
"""Statuses behind which nothing more can be filled. `absent` is ours: the venue has no such order, looked for again
and again; so is `unknown`, which isn't terminal: nobody could be asked.
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNREADABLE = re.compile(r"[^A-Za-z0-9_-]+")
_TRADER_CHARACTERS, _SYMBOL_CHARACTERS, _HASH_CHARACTERS = 40, 16, 24
_MAX_INT64, _MAX_STEP = 2**63 - 1, 10**6


def client_order_id(trader_id: str, symbol: str, bar_time: int, leg: int, attempt: int) -> str:
    """The id of an order: the same for the same five inputs, different for others, at most 128 characters.

    It reads `live-1.AAPL.20121026T040000Z.0.0.` and ends with 96 bits of the sha256 over the exact inputs, since the
    readable part is cut and stripped of what a venue might not take. `bar_time` in UTC nanoseconds.
    """
    exact = hashlib.sha256(canonical_json([trader_id, symbol, bar_time, leg, attempt])).hexdigest()
    moment = _EPOCH + timedelta(microseconds=bar_time // 1000)
    readable = (
        _readable(trader_id)[:_TRADER_CHARACTERS],
        _readable(symbol)[:_SYMBOL_CHARACTERS],
        f"{moment:%Y%m%dT%H%M%SZ}",
        str(leg),
        str(attempt),
    )
    return ".".join((*readable, exact[:_HASH_CHARACTERS]))


@dataclass(frozen=True, slots=True)
class Ticket:
    """One market order, as written down before it is sent: `quantity` signed, `bar_time` the start of the bar that it
    was decided on (UTC nanoseconds).

    `leg` counts the orders of one decision (through zero takes two), `attempt` the new orders for one leg after an
    earlier one ended without being filled.
    """

    client_order_id: str
    symbol: str
    quantity: Decimal
    bar_time: int
    leg: int
    attempt: int
    reason: str

    @classmethod
    def of(
        cls, trader_id: str, symbol: str, quantity: Decimal, bar_time: int, *, leg: int, attempt: int, reason: str
    ) -> Ticket:
        """The ticket with the id that follows from the trader and what it is for; SpecError for a quantity of 0."""
        own_id = client_order_id(trader_id, symbol, bar_time, leg, attempt)
        return cls.from_dict(cls(own_id, symbol, quantity, bar_time, leg, attempt, reason).to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The ticket as JSON values, the quantity as a string."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"quantity": f"{self.quantity:f}"}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Ticket:
        """Read a ticket; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [field.name for field in fields(cls)], where="ticket")
        quantity = parsing.take(read, "quantity", path, read_decimal)
        if not quantity:
            raise SpecError(parsing.join(path, "quantity"), parsing.show(read["quantity"]), "a quantity that isn't 0")
        return cls(
            client_order_id=parsing.take(read, "client_order_id", path, _read_id),
            symbol=parsing.take(read, "symbol", path, parsing.text, empty=False),
            quantity=quantity,
            bar_time=parsing.take(read, "bar_time", path, parsing.integer, low=-_MAX_INT64, high=_MAX_INT64),
            leg=parsing.take(read, "leg", path, parsing.integer, low=0, high=_MAX_STEP),
            attempt=parsing.take(read, "attempt", path, parsing.integer, low=0, high=_MAX_STEP),
            reason=parsing.take(read, "reason", path, parsing.text),
        )


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What is known of an order: its status as the venue words it (or `absent`, `unknown`), and what was filled so far.

    `filled_quantity` is signed; with it come `average_price` of all of it and `filled_at` (UTC nanoseconds), which are
    None before. `reason` says why it was refused or isn't known; `order_id` is the venue's own id, "" if unknown.
    """

    client_order_id: str
    status: str
    filled_quantity: Decimal = ZERO
    average_price: float | None = None
    filled_at: int | None = None
    reason: str = ""
    order_id: str = ""

    @property
    def terminal(self) -> bool:
        """Whether nothing more can come of it."""
        return self.status in TERMINAL

    def supersedes(self, before: OrderReport | None) -> bool:
        """Whether it tells as much as an earlier report: an answer that forgets a fill or an end is a stale one.

        The venue's word replaces our own `absent` and `unknown`, whatever it says.
        """
        if before is None or before.status in (ABSENT, UNKNOWN):
            return True
        forgets = before.terminal and not self.terminal
        return not forgets and abs(self.filled_quantity) >= abs(before.filled_quantity)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values, the quantity as a string."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"filled_quantity": f"{self.filled_quantity:f}"}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> OrderReport:
        """Read a report; SpecError with its dotted path for anything else, and for a fill without price or time."""
        read = parsing.mapping(data, path, [field.name for field in fields(cls)], where="report")
        report = cls(
            client_order_id=parsing.take(read, "client_order_id", path, _read_id),
            status=parsing.take(read, "status", path, parsing.text, empty=False),
            filled_quantity=parsing.take(read, "filled_quantity", path, read_decimal),
            average_price=parsing.take(read, "average_price", path, _read_price),
            filled_at=parsing.take(read, "filled_at", path, _read_instant),
            reason=parsing.take(read, "reason", path, parsing.text),
            order_id=parsing.take(read, "order_id", path, parsing.text),
        )
        if report.filled_quantity and (report.average_price is None or report.filled_at is None):
            found = f"a fill of {report.filled_quantity:f} without average_price or filled_at"
            raise SpecError(parsing.join(path, "filled_quantity"), found, "both")
        return report


def fill_between(before: OrderReport | None, after: OrderReport) -> Fill | None:
    """What was filled between two reports of one order, at its own price, without a fee; None where nothing was.

    The first fill has the average price itself, to the bit. A later one has the price that makes the sum of both what
    the venue says: (q2 p2 - q1 p1) / (q2 - q1), exact and rounded once. A venue rounds its averages, from which a tiny
    part can get any price, even one below 0: beyond twice or half the average it takes the average. A report that tells
    less than an earlier one is stale and fills nothing.
    """
    if not after.filled_quantity or after.average_price is None or after.filled_at is None:
        return None
    known = ZERO if before is None else before.filled_quantity
    if before is None or before.average_price is None or not known:
        return Fill(after.filled_at, after.filled_quantity, after.average_price, 0.0)
    quantity = EXACT.subtract(after.filled_quantity, known)
    if not quantity or not after.supersedes(before):
        return None
    average = after.average_price
    price = _price_between(known, before.average_price, after.filled_quantity, average)
    return Fill(after.filled_at, quantity, price if average / 2 <= price <= average * 2 else average, 0.0)


def _price_between(known: Decimal, known_price: float, total: Decimal, total_price: float) -> float:
    """The price of what came on top of `known`; exact but for the last rounding."""
    before = EXACT.multiply(known, Decimal(float.__repr__(known_price)))
    after = EXACT.multiply(total, Decimal(float.__repr__(total_price)))
    return float(EXACT.divide(EXACT.subtract(after, before), EXACT.subtract(total, known)))


def _readable(text: str) -> str:
    return _UNREADABLE.sub("-", text)


def _read_id(value: object, path: str) -> str:
    if len(parsing.text(value, path, empty=False)) > MAX_ID:
        raise SpecError(path, parsing.show(value), f"at most {MAX_ID} characters")
    return str(value)


def _read_price(value: object, path: str) -> float | None:
    return None if value is None else parsing.number(value, path, low=MIN_PRICE, high=MAX_PRICE)


def _read_instant(value: object, path: str) -> int | None:
    return None if value is None else parsing.integer(value, path, low=-_MAX_INT64, high=_MAX_INT64)
