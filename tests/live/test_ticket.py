"""Tickets, their ids, reports, and the fills between two reports."""

import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from live.ticket import ABSENT, MAX_ID, TERMINAL, UNKNOWN, OrderReport, Ticket, client_order_id, fill_between
from mlflow_ppo_flavor.errors import SpecError
from tests.live.values import (
    BAR_TIME,
    INSTANTS,
    SYMBOLS,
    TRADER_IDS,
    reports,
    tickets,
)

INPUTS = st.tuples(TRADER_IDS, SYMBOLS | TRADER_IDS, INSTANTS, st.integers(0, 99), st.integers(0, 99))


def filled(quantity: str, price: float, at: int = 7, status: str = "partially_filled") -> OrderReport:
    return OrderReport("mine", status, Decimal(quantity), price, at)


def test_an_id_can_be_read_and_stays_as_it_is() -> None:
    """It is stored in journals and at the venue: another way to make it would order twice after an upgrade."""
    found = client_order_id("live-1", "AAPL", BAR_TIME, 0, 0)
    assert found == "live-1.AAPL.20121026T040000Z.0.0.6ef929cfe88cadc8a6dc530b"


@given(INPUTS, INPUTS)
def test_ids_differ_exactly_where_their_inputs_do(
    one: tuple[str, str, int, int, int], other: tuple[str, str, int, int, int]
) -> None:
    assert (client_order_id(*one) == client_order_id(*other)) == (one == other)


@given(INPUTS, st.integers(0, 4), st.data())
def test_an_id_changes_with_each_of_its_inputs(
    inputs: tuple[str, str, int, int, int], which: int, data: st.DataObject
) -> None:
    changed = list(inputs)
    changed[which] = data.draw((TRADER_IDS, SYMBOLS, INSTANTS, st.integers(0, 99), st.integers(0, 99))[which])
    assume(tuple(changed) != inputs)
    assert client_order_id(*changed) != client_order_id(*inputs)  # type: ignore[arg-type]


@given(TRADER_IDS.map(lambda text: text * 5), SYMBOLS, INSTANTS, st.integers(0, 10**6), st.integers(0, 10**6))
def test_any_venue_takes_an_id(trader_id: str, symbol: str, bar_time: int, leg: int, attempt: int) -> None:
    found = client_order_id(trader_id, symbol, bar_time, leg, attempt)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", found)
    assert len(found) <= MAX_ID


def test_traders_whose_names_look_alike_have_different_ids() -> None:
    names = ["a b", "a-b", "a/b", "a-b ", "x" * 40, "x" * 41, "", "x"]
    assert len({client_order_id(name, "AAPL", BAR_TIME, 0, 0) for name in names}) == len(names)
    assert client_order_id("a", "b.c", 0, 0, 0) != client_order_id("a.b", "c", 0, 0, 0)


@given(tickets)
def test_tickets_are_read_back_as_written(ticket: Ticket) -> None:
    assert Ticket.from_dict(ticket.to_dict()) == ticket


@given(reports())
def test_reports_are_read_back_as_written(report: OrderReport) -> None:
    assert OrderReport.from_dict(report.to_dict()) == report


def test_a_ticket_is_for_something() -> None:
    with pytest.raises(SpecError, match=r"quantity: found '0', expected a quantity that isn't 0"):
        Ticket.of("t", "AAPL", Decimal(0), 0, leg=0, attempt=0, reason="")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("client_order_id", "x" * 129, "client_order_id: found 'xxx.*expected at most 128 characters"),
        ("filled_quantity", 1.5, "filled_quantity: found 1.5, expected a decimal number as a string"),
        ("average_price", -1.0, r"average_price: found -1.0, expected a number in \[1e-12, 1e\+15\]"),
        ("average_price", None, "filled_quantity: found a fill of 2 without average_price or filled_at, expected both"),
        ("status", "", "status: found '', expected a string that isn't empty"),
    ],
)
def test_a_report_that_makes_no_sense_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        OrderReport.from_dict(filled("2", 10.0).to_dict() | {field: value})


def test_the_first_fill_has_the_average_price_to_the_bit() -> None:
    price = 58.61879892697586
    fill = fill_between(None, filled("1.123456789", price, at=99))
    assert fill is not None
    assert (fill.time, fill.quantity, fill.price.hex(), fill.fee) == (99, Decimal("1.123456789"), price.hex(), 0.0)
    assert fill_between(OrderReport("mine", "accepted"), filled("1.123456789", price, at=99)) == fill


def test_a_later_fill_has_its_own_price() -> None:
    fill = fill_between(filled("2", 10.0), filled("5", 10.6, at=8))
    assert fill is not None
    assert (fill.quantity, fill.price, fill.time) == (Decimal(3), 11.0, 8)
    sold = fill_between(filled("-2", 10.0), filled("-5", 10.6, at=8))
    assert sold is not None
    assert (sold.quantity, sold.price) == (Decimal(-3), 11.0)


PARTS = st.tuples(st.decimals("1", "1000", places=9), st.floats(100.0, 150.0))


@given(st.lists(PARTS, min_size=1, max_size=5), st.sampled_from([1, -1]))
def test_the_parts_add_up_to_the_whole(parts: list[tuple[Decimal, float]], side: int) -> None:
    """Whatever order in parts: quantities exactly, cash to the rounding of the venue's averages."""
    before, told, quantity, worth = None, [], Fraction(0), Fraction(0)
    for amount, price in parts:
        quantity += Fraction(amount)
        worth += Fraction(amount) * Fraction(price)
        total = Decimal(quantity.numerator) / Decimal(quantity.denominator)
        after = OrderReport("mine", "partially_filled", side * total, float(worth / quantity), 1)
        told.append(fill_between(before, after))
        before = after
    found = [fill for fill in told if fill is not None]
    assert sum(fill.quantity for fill in found) == side * sum(amount for amount, _ in parts)
    cash = sum(Fraction(abs(fill.quantity)) * Fraction(fill.price) for fill in found)
    assert abs(cash - worth) <= worth * Fraction(1, 10**12)


@given(reports())
def test_the_same_report_again_fills_nothing(report: OrderReport) -> None:
    assert fill_between(report, report) is None


def test_a_stale_report_fills_nothing_and_supersedes_nothing() -> None:
    whole, part = filled("5", 10.6, status="filled"), filled("2", 10.0)
    assert fill_between(whole, part) is None
    assert not part.supersedes(whole)
    assert not filled("5", 10.6, status="new").supersedes(whole)
    assert whole.supersedes(part)
    assert whole.supersedes(whole)
    assert whole.supersedes(None)


@pytest.mark.parametrize("ours", [ABSENT, UNKNOWN])
def test_the_venues_word_supersedes_our_own(ours: str) -> None:
    assert OrderReport("mine", "new").supersedes(OrderReport("mine", ours))
    assert not OrderReport("mine", ours).supersedes(filled("5", 10.6, status="filled"))


def test_averages_that_a_venue_rounded_never_give_a_price_that_is_none() -> None:
    """A millionth of a share at the end, and an average rounded to cents: worth less than nothing."""
    for before, after in ((10.01, 10.0), (10.0, 10.01), (10.00001, 10.0)):
        fill = fill_between(filled("1000", before), filled("1000.000001", after, at=8))
        assert fill is not None
        assert (fill.quantity, fill.price) == (Decimal("0.000001"), after)


def test_only_ends_are_terminal() -> None:
    open_ones = (
        "accepted",
        "new",
        "pending_new",
        "partially_filled",
        "pending_cancel",
        "done_for_day",
        "held",
        UNKNOWN,
    )
    assert not any(OrderReport("mine", status).terminal for status in open_ones)
    assert all(OrderReport("mine", status).terminal for status in TERMINAL)
    assert replace(OrderReport("mine", "a status of tomorrow")).terminal is False
