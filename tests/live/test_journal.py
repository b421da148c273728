"""What the journal remembers, over restarts, and what it refuses."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from live.journal import Conduct, Journal, Standing
from live.journal_file import NAME
from live.record import DecisionRecord
from live.ticket import OrderReport, Ticket
from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.market import Fill
from mlflow_ppo_flavor.errors import JournalError, SpecError
from tests import tiers
from tests.live.values import BAR_TIME, record, reports, standings

TICKET = Ticket.of("live-1", "AAPL", Decimal("1.5"), BAR_TIME, leg=0, attempt=0, reason="BUY_50%")
ID = TICKET.client_order_id
STANDING = Standing(AccountState.start(100_000.0), BAR_TIME)
FILLED = OrderReport(ID, "filled", Decimal("1.5"), 84.5, BAR_TIME + 1, order_id="venue-1")
FILL = Fill(BAR_TIME + 1, Decimal("1.5"), 84.5, 0.0)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path, "live-1") as opened:
        yield opened


@pytest.fixture
def again(tmp_path: Path, journal: Journal) -> Iterator[Callable[[], Journal]]:
    """Close the journal and open it anew, as a restart does."""
    opened = [journal]

    def reopen() -> Journal:
        opened[-1].close()
        opened.append(Journal.open(tmp_path, "live-1"))
        return opened[-1]

    yield reopen
    for one in opened:
        one.close()


def test_a_new_journal_knows_nothing(journal: Journal) -> None:
    assert journal.account("AAPL") is None
    assert journal.decisions("AAPL") == ()
    assert journal.open_orders("AAPL") == journal.fills("AAPL") == journal.events() == journal.orders("AAPL") == ()
    assert journal.conduct() == Conduct("ACTIVE", "", "")
    assert journal.day_start(date(2012, 10, 26)) is None
    assert journal.orders_since(0) == 0
    assert not journal.decided("AAPL", BAR_TIME)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=tiers.SLOW_EXAMPLES)
@given(standing=standings())
def test_an_account_is_read_back_as_saved(journal: Journal, standing: Standing) -> None:
    journal.save_account("AAPL", standing)
    assert journal.account("AAPL") == standing
    assert journal.account("MSFT") is None


def test_a_bar_is_decided_once(journal: Journal, again: Callable[[], Journal]) -> None:
    first, second = record(action=2), record(action=5, version=2)
    assert journal.record_decision(first)
    assert not journal.record_decision(second)
    journal = again()
    assert not journal.record_decision(second)
    assert journal.decided("AAPL", BAR_TIME)
    assert not journal.decided("AAPL", BAR_TIME + 1)
    assert not journal.decided("MSFT", BAR_TIME)
    assert journal.decisions("AAPL") == (first,)


def test_decisions_are_told_by_bar(journal: Journal) -> None:
    later, sooner = record(bar_time=BAR_TIME + 5), record(bar_time=BAR_TIME)
    journal.record_decision(later)
    journal.record_decision(sooner)
    journal.record_decision(record("MSFT", BAR_TIME + 9))
    assert journal.decisions("AAPL") == (sooner, later)


def test_an_order_is_open_until_its_report_ends_it(journal: Journal, again: Callable[[], Journal]) -> None:
    journal.record_order(TICKET)
    assert (journal.order(ID), journal.report(ID), journal.open_orders("AAPL")) == (TICKET, None, (TICKET,))
    journal = again()
    for status in ("unknown", "accepted", "partially_filled"):
        report = OrderReport(ID, status)
        assert journal.update_order(ID, report)
        assert (journal.report(ID), journal.open_orders("AAPL")) == (report, (TICKET,))
    journal.update_order(ID, FILLED)
    journal = again()
    assert (journal.report(ID), journal.open_orders("AAPL"), journal.orders("AAPL")) == (FILLED, (), (TICKET,))
    assert journal.order("another") is journal.report("another") is None


def test_the_same_order_may_be_recorded_again_but_no_other_under_its_id(journal: Journal) -> None:
    journal.record_order(TICKET)
    journal.update_order(ID, FILLED)
    journal.record_order(TICKET)
    assert journal.report(ID) == FILLED
    expected = f"order {ID}: found 1.5 AAPL under this id, expected 2 AAPL"
    with pytest.raises(JournalError, match=re.escape(expected)):
        journal.record_order(replace(TICKET, quantity=Decimal(2)))
    assert journal.orders("AAPL") == (TICKET,)


def test_orders_are_counted_by_the_bar_they_were_decided_on(journal: Journal) -> None:
    for symbol, bar_time in (("AAPL", 1), ("AAPL", 5), ("MSFT", 5), ("MSFT", 9)):
        journal.record_order(Ticket.of("live-1", symbol, Decimal(1), bar_time, leg=0, attempt=0, reason=""))
    assert [journal.orders_since(time) for time in (0, 2, 5, 6, 10)] == [4, 3, 3, 1, 0]
    assert len(journal.open_orders("MSFT")) == 2


def test_a_stale_report_changes_nothing(journal: Journal) -> None:
    journal.record_order(TICKET)
    assert journal.settle("AAPL", ID, FILLED, FILL, STANDING)
    assert not journal.update_order(ID, OrderReport(ID, "new"))
    assert not journal.settle("AAPL", ID, OrderReport(ID, "canceled"), FILL, replace(STANDING, marked=0))
    assert (journal.report(ID), journal.fills("AAPL"), journal.account("AAPL")) == (FILLED, (FILL,), STANDING)


def test_a_report_belongs_to_a_recorded_order(journal: Journal) -> None:
    expected = f"orders: found a report of {ID} for {ID}, expected one of an order that was recorded before it was sent"
    with pytest.raises(JournalError, match=re.escape(expected)):
        journal.settle("AAPL", ID, FILLED, FILL, STANDING)
    journal.record_order(TICKET)
    with pytest.raises(JournalError, match="found a report of other for live-1"):
        journal.update_order(ID, OrderReport("other", "filled"))
    assert (journal.fills("AAPL"), journal.account("AAPL")) == ((), None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=tiers.SLOW_EXAMPLES)
@given(st.data())
def test_any_report_is_read_back_as_written(journal: Journal, data: st.DataObject) -> None:
    number = journal.orders_since(0)
    ticket = Ticket.of("live-1", "MSFT", Decimal(1), number + 1, leg=0, attempt=0, reason="")
    journal.record_order(ticket)
    report = data.draw(reports(ticket.client_order_id))
    journal.update_order(ticket.client_order_id, report)
    assert journal.report(ticket.client_order_id) == report
    assert (ticket in journal.open_orders("MSFT")) == (not report.terminal)


def test_a_fill_and_the_account_after_it_are_one(journal: Journal, again: Callable[[], Journal]) -> None:
    journal.record_order(TICKET)
    assert journal.settle("AAPL", ID, FILLED, FILL, STANDING)
    journal = again()
    assert (journal.fills("AAPL"), journal.account("AAPL"), journal.report(ID)) == ((FILL,), STANDING, FILLED)
    assert journal.fills("MSFT") == ()


def test_a_transaction_is_all_or_nothing(journal: Journal) -> None:
    def half() -> None:
        with journal.transaction():
            journal.record_order(TICKET)
            journal.settle("AAPL", ID, FILLED, FILL, STANDING)
            raise SpecError("half", "an end", "more")

    with pytest.raises(SpecError, match="half"):
        half()
    assert (journal.order(ID), journal.fills("AAPL"), journal.account("AAPL")) == (None, (), None)
    with journal.transaction():
        journal.record_decision(record())
        journal.record_order(TICKET)
    assert journal.decided("AAPL", BAR_TIME)
    assert journal.open_orders("AAPL") == (TICKET,)


def test_an_adopted_position_is_a_fill_without_an_order(journal: Journal, again: Callable[[], Journal]) -> None:
    for _ in range(2):
        journal.adopt("AAPL", FILL, STANDING)
    journal = again()
    assert (journal.fills("AAPL"), journal.account("AAPL"), journal.orders("AAPL")) == ((FILL, FILL), STANDING, ())


def test_a_halt_stays_over_a_restart(journal: Journal, again: Callable[[], Journal]) -> None:
    journal.set_conduct("REDUCING", "no version stands there")
    journal.set_conduct("HALTED", "daily_loss: 6.00% lost")
    found = again().conduct()
    assert (found.state, found.reason) == ("HALTED", "daily_loss: 6.00% lost")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.since)


def test_a_conduct_that_does_not_exist_is_refused(journal: Journal) -> None:
    unknown: Any = "PAUSED"
    with pytest.raises(JournalError, match="CHECK constraint failed"):
        journal.set_conduct(unknown, "")
    assert journal.conduct().state == "ACTIVE"


def test_a_day_keeps_its_first_equity(journal: Journal, again: Callable[[], Journal]) -> None:
    day = date(2012, 10, 26)
    journal.set_day_start(day, 100_000.1)
    journal.set_day_start(day, 93_000.0)
    journal.set_day_start(date(2012, 10, 31), 95_000.0)
    journal = again()
    assert (journal.day_start(day), journal.day_start(date(2012, 10, 31))) == (100_000.1, 95_000.0)


def test_events_are_appended_and_told_by_kind(journal: Journal, again: Callable[[], Journal]) -> None:
    journal.note("bad_bar", "AAPL", "high is below low", {"time": BAR_TIME, "low": 2.5})
    journal.note("swap", None, "version 1 → 2", {})
    journal.note("bad_bar", "MSFT", "close is NaN", {"close": None})
    journal = again()
    events = journal.events()
    assert [(event.kind, event.symbol, event.reason) for event in events] == [
        ("bad_bar", "AAPL", "high is below low"),
        ("swap", None, "version 1 → 2"),
        ("bad_bar", "MSFT", "close is NaN"),
    ]
    assert journal.events("bad_bar") == (events[0], events[2])
    assert events[0].detail == {"time": BAR_TIME, "low": 2.5}
    assert events[0].at <= events[1].at <= events[2].at


def test_the_kill_switch_is_a_file(journal: Journal, tmp_path: Path) -> None:
    assert not journal.kill_switch()
    (tmp_path / "KILL").touch()
    assert journal.kill_switch()
    (tmp_path / "KILL").unlink()
    assert not journal.kill_switch()


def test_others_may_read_while_the_trader_writes(journal: Journal, tmp_path: Path) -> None:
    journal.record_order(TICKET)
    with closing(sqlite3.connect(f"file:{tmp_path / NAME}?mode=ro", uri=True)) as reader:
        assert reader.execute("SELECT client_order_id FROM orders").fetchall() == [(ID,)]
        journal.update_order(ID, FILLED)
        assert reader.execute("SELECT is_open FROM orders").fetchall() == [(0,)]


@pytest.mark.parametrize("body", ['{"state": 5', '{"state": {}, "marked": 1}', '{"marked": 1}', "[]"])
def test_a_row_that_somebody_changed_is_not_believed(journal: Journal, tmp_path: Path, body: str) -> None:
    journal.save_account("AAPL", STANDING)
    with closing(sqlite3.connect(tmp_path / NAME)) as other, other:
        other.execute("UPDATE accounts SET body = ?", (body,))
    with pytest.raises(JournalError, match=r"journal: accounts\[AAPL\].*restore the journal from a copy"):
        journal.account("AAPL")


def test_a_closed_journal_says_so(journal: Journal) -> None:
    journal.close()
    with pytest.raises(JournalError, match="can't be read"):
        journal.conduct()
    with pytest.raises(JournalError, match="can't be written"):
        journal.note("swap", None, "", {})


def test_records_are_read_back_as_written() -> None:
    for action in range(7):
        made = record(action=action)
        assert DecisionRecord.from_dict(made.to_dict()) == made
    uncritical = replace(record(), value=None)
    assert DecisionRecord.from_dict(json.loads(canonical_json(uncritical.to_dict()))) == uncritical
    with pytest.raises(SpecError, match="observation_sha256: found 'x', expected 64 hexadecimal digits"):
        DecisionRecord.from_dict(record().to_dict() | {"observation_sha256": "x"})
    wrong = record().to_dict() | {"decision": record().decision.to_dict() | {"size": 2}}
    with pytest.raises(SpecError, match=r"decision\.size: found 2, expected a number in"):
        DecisionRecord.from_dict(wrong)


@given(standings())
def test_standings_are_read_back_as_written(standing: Standing) -> None:
    assert Standing.from_dict(standing.to_dict()) == standing
