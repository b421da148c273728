"""The trader's memory: accounts, decisions, orders, fills, conduct and events; on disk before the trader acts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from live.journal_file import open_database
from live.lock import StateLock
from live.record import Conduct, ConductState, DecisionRecord, Event, Standing
from live.ticket import OrderReport, Ticket
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.seal import SealedVerdict
from mlflow_ppo_flavor.decision.market import Fill
from mlflow_ppo_flavor.errors import JournalError

__all__ = ["Conduct", "DecisionRecord", "Event", "Journal", "Standing"]
KILL_FILE = "KILL"
T = TypeVar("T")


class Journal:
    """One trader's journal in a state directory, for this process alone. What a method wrote is durable when it
    returns; within `transaction` all of it is when that ends, or none.

    JournalError where the directory is in use, belongs to another trader, or holds what isn't a journal.
    """

    def __init__(self, state_dir: Path, trader_id: str) -> None:
        """Lock the directory, which is made if need be, and open the journal in it."""
        self._kill_file = state_dir / KILL_FILE
        self._lock = StateLock(state_dir)
        try:
            self._database = open_database(state_dir, trader_id)
        except BaseException:
            self._lock.release()
            raise

    @classmethod
    def open(cls, state_dir: Path, trader_id: str) -> Self:
        """The journal of a state directory; a context that closes it."""
        return cls(state_dir, trader_id)

    def __enter__(self) -> Self:
        """The journal, open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let the next process in; nothing can be read or written after that."""
        self._database.close()
        self._lock.release()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written within becomes durable together, or not at all. One inside another joins it."""
        try:
            if self._database.in_transaction:
                yield
                return
            self._database.execute("BEGIN IMMEDIATE")
            yield
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise JournalError(f"journal: can't be written ({error}): nothing is traded without it") from error
        except BaseException:
            self._roll_back()
            raise

    def account(self, symbol: str) -> Standing | None:
        """A symbol's sub-account as last saved; None before the first time."""
        row = self._one("SELECT body FROM accounts WHERE symbol = ?", symbol)
        return None if row is None else _read(row[0], Standing.from_dict, f"accounts[{symbol}]")

    def save_account(self, symbol: str, standing: Standing) -> None:
        """Replace a symbol's sub-account."""
        self._write("INSERT OR REPLACE INTO accounts VALUES (?, ?)", symbol, _text(standing.to_dict()))

    def record_decision(self, record: DecisionRecord) -> bool:
        """Write a decision down; False, and nothing is changed, where its symbol and bar have one already."""
        statement = "INSERT OR IGNORE INTO decisions VALUES (?, ?, ?)"
        return self._write(statement, record.symbol, record.bar_time, _text(record.to_dict())) == 1

    def decided(self, symbol: str, bar_time: int) -> bool:
        """Whether there is a decision on a bar (its start in UTC nanoseconds)."""
        return self._one("SELECT 1 FROM decisions WHERE symbol = ? AND bar_time = ?", symbol, bar_time) is not None

    def decisions(self, symbol: str) -> tuple[DecisionRecord, ...]:
        """All decisions on a symbol, by bar."""
        return tuple(self._decisions("WHERE symbol = ? ORDER BY bar_time", symbol))

    def record_order(self, ticket: Ticket) -> None:
        """Write a ticket down, before it is sent. The same one again changes nothing: it is sent again after a crash.

        JournalError for another order under the same id.
        """
        held = self.order(ticket.client_order_id)
        if held is not None and held != ticket:
            found, expected = (f"{one.quantity:f} {one.symbol}" for one in (held, ticket))
            raise JournalError(f"order {ticket.client_order_id}: found {found} under this id, expected {expected}")
        self._write(
            "INSERT OR IGNORE INTO orders (client_order_id, symbol, bar_time, is_open, ticket) VALUES (?, ?, ?, 1, ?)",
            ticket.client_order_id,
            ticket.symbol,
            ticket.bar_time,
            _text(ticket.to_dict()),
        )

    def update_order(self, client_order_id: str, report: OrderReport) -> bool:
        """Write down what was reported of an order; False, and nothing is changed, for a report that is stale.

        JournalError for an order that was never recorded, and for the report of another one.
        """
        if self.order(client_order_id) is None or report.client_order_id != client_order_id:
            found = f"a report of {report.client_order_id} for {client_order_id}"
            expected = "expected one of an order that was recorded before it was sent"
            raise JournalError(f"orders: found {found}, {expected}: `adopt` a fill that no order brought")
        if not report.supersedes(self.report(client_order_id)):
            return False
        statement = "UPDATE orders SET report = ?, is_open = ? WHERE client_order_id = ?"
        self._write(statement, _text(report.to_dict()), int(not report.terminal), client_order_id)
        return True

    def order(self, client_order_id: str) -> Ticket | None:
        """The ticket of a recorded order, or None."""
        return next(self._tickets("WHERE client_order_id = ?", client_order_id), None)

    def report(self, client_order_id: str) -> OrderReport | None:
        """What was last reported of an order; None before the first report, and for an order that isn't recorded."""
        row = self._one("SELECT report FROM orders WHERE client_order_id = ?", client_order_id)
        return None if row is None or row[0] is None else _read(row[0], OrderReport.from_dict, "orders.report")

    def orders(self, symbol: str) -> tuple[Ticket, ...]:
        """All tickets of a symbol, as they were recorded."""
        return tuple(self._tickets("WHERE symbol = ? ORDER BY rowid", symbol))

    def open_orders(self, symbol: str) -> tuple[Ticket, ...]:
        """The tickets of which something may still come, as they were recorded."""
        return tuple(self._tickets("WHERE symbol = ? AND is_open ORDER BY rowid", symbol))

    def orders_since(self, bar_time: int) -> int:
        """How many orders were decided on bars from `bar_time` (UTC nanoseconds) on, of all symbols."""
        row = self._one("SELECT count(*) FROM orders WHERE bar_time >= ?", bar_time)
        return 0 if row is None else int(row[0])

    def settle(
        self, symbol: str, client_order_id: str, report: OrderReport, fill: Fill | None, standing: Standing | None
    ) -> bool:
        """An order's report, the fill that it told and the sub-account after that fill: all or nothing.

        False, and nothing is changed, for a report that is stale. JournalError as `update_order`.
        """
        with self.transaction():
            if not self.update_order(client_order_id, report):
                return False
            self._settle(symbol, client_order_id, fill, standing)
        return True

    def adopt(self, symbol: str, fill: Fill | None, standing: Standing) -> None:
        """A fill that no order of this trader brought, and the sub-account after it: all or nothing."""
        with self.transaction():
            self._settle(symbol, None, fill, standing)

    def fills(self, symbol: str) -> tuple[Fill, ...]:
        """All fills of a symbol, as they were settled."""
        rows = self._all("SELECT body FROM fills WHERE symbol = ? ORDER BY number", symbol)
        return tuple(_read(row[0], Fill.from_dict, f"fills[{symbol}]") for row in rows)

    def conduct(self) -> Conduct:
        """The conduct as last set; ACTIVE before the first time."""
        row = self._one("SELECT state, reason, since FROM conduct")
        return Conduct("ACTIVE") if row is None else Conduct(*row)

    def set_conduct(self, state: ConductState, reason: str) -> None:
        """Set the conduct from now on, for this process and those after it."""
        self._write("INSERT OR REPLACE INTO conduct (only, state, reason) VALUES (1, ?, ?)", state, reason)

    def kill_switch(self) -> bool:
        """Whether an operator has put a file KILL into the state directory."""
        return self._kill_file.exists()

    def day_start(self, day: date) -> float | None:
        """The equity that a day's loss is measured from; None before it is set."""
        row = self._one("SELECT equity FROM days WHERE day = ?", day.isoformat())
        return None if row is None else float(row[0])

    def set_day_start(self, day: date, equity: float) -> None:
        """Set a day's first equity. A day that has one keeps it: a restart doesn't forget what was lost."""
        self._write("INSERT OR IGNORE INTO days VALUES (?, ?)", day.isoformat(), float(equity))

    def remember_verdict(self, verdict: SealedVerdict) -> None:
        """Keep the newest verdict of its reference; it was checked against the one before."""
        statement = "INSERT OR REPLACE INTO verdicts VALUES (?, ?)"
        self._write(statement, str(verdict.reference), _text(verdict.to_dict()))

    def verdicts(self) -> tuple[SealedVerdict, ...]:
        """The newest verdict of each reference that this trader has seen one of."""
        rows = self._all("SELECT body FROM verdicts ORDER BY reference")
        return tuple(_read(row[0], SealedVerdict.from_dict, "verdicts") for row in rows)

    def note(self, kind: str, symbol: str | None, reason: str, detail: Mapping[str, Any]) -> None:
        """Append an event."""
        statement = "INSERT INTO events (kind, symbol, reason, detail) VALUES (?, ?, ?, ?)"
        self._write(statement, kind, symbol, reason, _text(dict(detail)))

    def events(self, kind: str | None = None) -> tuple[Event, ...]:
        """All events, or those of one kind, oldest first."""
        statement = "SELECT at, kind, symbol, reason, detail FROM events WHERE ?1 IS NULL OR kind = ?1 ORDER BY number"
        rows = self._all(statement, kind)
        return tuple(
            Event(at, of_kind, symbol, reason, json.loads(detail)) for at, of_kind, symbol, reason, detail in rows
        )

    def _decisions(self, where: str, *values: object) -> Iterator[DecisionRecord]:
        for row in self._all(f"SELECT body FROM decisions {where}", *values):  # noqa: S608 -- our own constants
            yield _read(row[0], DecisionRecord.from_dict, "decisions")

    def _roll_back(self) -> None:
        """Undo what a transaction has written; one that the failure ended already is undone."""
        with suppress(sqlite3.Error):
            self._database.rollback()

    def _tickets(self, where: str, *values: object) -> Iterator[Ticket]:
        for row in self._all(f"SELECT ticket FROM orders {where}", *values):  # noqa: S608 -- our own constants
            yield _read(row[0], Ticket.from_dict, "orders.ticket")

    def _settle(self, symbol: str, client_order_id: str | None, fill: Fill | None, standing: Standing | None) -> None:
        if fill is not None:
            statement = "INSERT INTO fills (symbol, client_order_id, body) VALUES (?, ?, ?)"
            self._write(statement, symbol, client_order_id, _text(fill.to_dict()))
        if standing is not None:
            self.save_account(symbol, standing)

    def _write(self, statement: str, *values: object) -> int:
        """Execute in a transaction; how many rows changed."""
        with self.transaction():
            return self._database.execute(statement, values).rowcount

    def _all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"journal: can't be read ({error}): restore it from a copy") from error

    def _one(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        return next(iter(self._all(statement, *values)), None)


def _text(value: dict[str, Any]) -> str:
    return canonical_json(value).decode()


def _read(text: str, read: Callable[[object, str], T], path: str) -> T:
    """A value from its text; JournalError where a row doesn't hold one: then the file was changed by somebody else."""
    try:
        return read(json.loads(text), path)
    except ValueError as error:
        raise JournalError(f"journal: {path}: can't be read ({error}): restore the journal from a copy") from error
