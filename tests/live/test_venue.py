"""What the venue tells, read: exact where it is as expected, refused with its path where it isn't."""

from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.ticket import OrderReport
from live.venue import (
    BrokerAccount,
    Session,
    VenueClock,
    read_account,
    read_clock,
    read_instant,
    read_instrument,
    read_order,
    read_position,
    read_positions,
    read_sessions,
)
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.errors import SpecError
from tests.live.exchange.venues import day, instant

CLOCK = {
    "timestamp": "2012-10-26T15:59:59.123456789-04:00",
    "is_open": True,
    "next_open": "2012-10-31T09:30:00-04:00",
    "next_close": None,
}
ACCOUNT = {
    "status": "ACTIVE",
    "equity": "100000.25",
    "cash": "99000",
    "buying_power": "99000.5",
    "trading_blocked": False,
    "account_blocked": False,
    "trade_suspended_by_user": False,
    "pattern_day_trader": None,
}
LONG = {"symbol": "AAPL", "qty": "1.123456789", "side": "long", "asset_id": "x"}
SHORT = {"symbol": "MSFT", "qty": "-5", "side": "short"}
ASSET = {
    "symbol": "AAPL",
    "class": "us_equity",
    "status": "active",
    "tradable": True,
    "shortable": True,
    "easy_to_borrow": True,
    "fractionable": True,
}
ORDER = {
    "id": "61e69015",
    "client_order_id": "mine",
    "side": "sell",
    "status": "partially_filled",
    "filled_qty": "1.5",
    "filled_avg_price": "84.500000001",
    "filled_at": None,
    "updated_at": "2012-10-26T20:00:00.000000001Z",
}
THANKSGIVING = {"date": "2012-11-23", "open": "09:30", "close": "13:00", "session_open": "0400"}


def test_the_clock_is_read_to_the_nanosecond() -> None:
    now = instant("2012-10-26T19:59:59Z") + 123_456_789
    assert read_clock(CLOCK) == VenueClock(now, True, instant("2012-10-31T13:30Z"), None)


def test_the_account_is_read() -> None:
    assert read_account(ACCOUNT) == BrokerAccount(100_000.25, 99_000.0, 99_000.5, False, "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "ACCOUNT_UPDATED"}, "status ACCOUNT_UPDATED"),
        ({"trading_blocked": True}, "trading_blocked"),
        ({"account_blocked": True, "trade_suspended_by_user": True}, "account_blocked, trade_suspended_by_user"),
    ],
)
def test_a_blocked_account_says_why(change: dict[str, Any], reason: str) -> None:
    found = read_account(ACCOUNT | change)
    assert (found.blocked, found.reason) == (True, reason)


def test_positions_take_their_sign_from_the_side() -> None:
    assert read_positions([LONG, SHORT]) == {"AAPL": Decimal("1.123456789"), "MSFT": Decimal(-5)}
    assert read_positions([]) == {}
    assert read_position(SHORT | {"qty": "5"}, "MSFT") == Decimal(-5)


def test_an_asset_says_what_may_be_ordered_of_it() -> None:
    assert read_instrument(ASSET, "AAPL") == Instrument.equity("AAPL")
    whole = ASSET | {"fractionable": False, "easy_to_borrow": False, "min_order_size": "1E-9"}
    assert read_instrument(whole, "AAPL") == Instrument.equity("AAPL", fractionable=False, shortable=False)
    coarse = ASSET | {"min_order_size": "0.01", "min_trade_increment": "0.001"}
    found = read_instrument(coarse, "AAPL")
    assert (found.min_quantity, found.step) == (Decimal("0.01"), Decimal("0.001"))


def test_sessions_are_local_hours_on_either_side_of_a_clock_change() -> None:
    """New York's clocks go back on 2012-11-04; the day after Thanksgiving ends at 13:00."""
    friday = {"date": "2012-11-02", "open": "09:30", "close": "16:00"}
    assert read_sessions([friday, THANKSGIVING]) == (
        Session(day("2012-11-02"), instant("2012-11-02T13:30Z"), instant("2012-11-02T20:00Z")),
        Session(day("2012-11-23"), instant("2012-11-23T14:30Z"), instant("2012-11-23T18:00Z")),
    )


def test_an_order_is_read_exactly() -> None:
    """The first part of a fill has no filled_at yet: the last update tells when it was."""
    moment = instant("2012-10-26T20:00Z")
    found = read_order(ORDER, "mine")
    assert found == OrderReport(
        "mine", "partially_filled", Decimal("-1.5"), 84.500000001, moment + 1, order_id="61e69015"
    )
    filled = ORDER | {"filled_at": "2012-10-26T19:59:00Z", "side": "buy"}
    assert read_order(filled, "mine").filled_at == instant("2012-10-26T19:59Z")
    assert read_order(filled, "mine").filled_quantity == Decimal("1.5")


@pytest.mark.parametrize("unfilled", [{"filled_qty": "0", "filled_avg_price": "0"}, {"filled_qty": None}])
def test_an_order_without_a_fill_has_no_price(unfilled: dict[str, Any]) -> None:
    found = read_order(ORDER | {"status": "a_status_of_tomorrow"} | unfilled, "mine")
    assert (found.status, found.filled_quantity, found.average_price, found.filled_at) == (
        "a_status_of_tomorrow",
        Decimal(0),
        None,
        None,
    )


READERS: dict[str, tuple[Any, Any]] = {
    "clock": (read_clock, CLOCK),
    "account": (read_account, ACCOUNT),
    "position": (lambda data: read_position(data, "AAPL"), LONG),
    "asset": (lambda data: read_instrument(data, "AAPL"), ASSET),
    "calendar": (lambda data: read_sessions([data]), THANKSGIVING),
    "order": (lambda data: read_order(data, "mine"), ORDER),
}


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (
            "clock",
            {"timestamp": "2012-10-26T16:00:00"},
            r"clock\.timestamp: found '2012-10-26T16:00:00', expected a time",
        ),
        (
            "clock",
            {"timestamp": "2012-13-26T16:00:00Z"},
            r"clock\.timestamp: found '2012-13-26T16:00:00Z', expected a time",
        ),
        ("clock", {"timestamp": None}, r"clock\.timestamp: found None, expected a time such as"),
        ("clock", {"is_open": "yes"}, r"clock\.is_open: found 'yes', expected true or false"),
        ("account", {"equity": "NaN"}, r"account\.equity: found 'NaN', expected a finite number as a string"),
        ("account", {"cash": None}, r"account\.cash: found None, expected a finite number as a string"),
        ("account", {"buying_power": True}, r"account\.buying_power: found True, expected a finite number"),
        ("position", {"symbol": "MSFT"}, r"position\.symbol: found 'MSFT', expected AAPL"),
        ("position", {"qty": "-1"}, r"position\.qty: found -1 with side long, expected a quantity above 0"),
        ("position", {"qty": 1.5}, r"position\.qty: found 1.5, expected a decimal number as a string"),
        ("position", {"side": "both"}, r"position\.side: found 'both', expected one of long, short"),
        ("asset", {"symbol": "AAPL2"}, "asset: found AAPL2, us_equity, expected AAPL, us_equity"),
        ("asset", {"class": "crypto"}, "asset: found AAPL, crypto, expected AAPL, us_equity: trade another symbol"),
        ("asset", {"status": "inactive"}, "asset: found AAPL inactive, tradable true, expected an active asset"),
        ("asset", {"tradable": False}, "asset: found AAPL active, tradable false, expected an active asset"),
        ("asset", {"min_trade_increment": "0.3"}, r"asset\.step: found 0.3, expected a part of 1 that divides it"),
        ("calendar", {"close": "09:30"}, r"calendar\[0\]: found 09:30 to 09:30, expected an open before the close"),
        ("calendar", {"close": "1600"}, r"calendar\[0\].close: found '1600', expected HH:MM"),
        ("calendar", {"date": "2012-02-30"}, r"calendar\[0\]: found 2012-02-30 09:30 to 13:00, expected a date"),
        ("order", {"client_order_id": "yours"}, r"order\.client_order_id: found yours, expected mine"),
        ("order", {"filled_avg_price": None}, r"order\.filled_avg_price: found None, expected a finite number"),
        ("order", {"filled_avg_price": "-1"}, r"order\.average_price: found -1.0, expected a number in"),
        ("order", {"filled_qty": "-1"}, r"order\.filled_qty: found '-1', expected a decimal number as a string"),
        ("order", {"side": None}, r"order\.side: found None, expected one of buy, sell"),
        ("order", {"status": 5}, r"order\.status: found 5, expected a string that isn't empty"),
        ("order", {"updated_at": None}, r"order\.filled_at: found None, expected a time such as"),
    ],
)
def test_what_is_not_as_expected_is_refused(kind: str, change: dict[str, Any], message: str) -> None:
    read, data = READERS[kind]
    read(data)
    with pytest.raises(SpecError, match=message):
        read(data | change)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("garbage", [None, [], "<html>", 5])
def test_garbage_is_refused(kind: str, garbage: object) -> None:
    with pytest.raises(SpecError, match="expected a mapping"):
        READERS[kind][0](garbage)


def test_a_list_with_one_symbol_twice_or_a_mixed_up_calendar_is_refused() -> None:
    with pytest.raises(SpecError, match="positions: found a symbol twice, expected each once"):
        read_positions([LONG, LONG])
    with pytest.raises(SpecError, match="calendar: found sessions that overlap or aren't in order"):
        read_sessions([THANKSGIVING, THANKSGIVING])
    with pytest.raises(SpecError, match="positions: found None, expected a list"):
        read_positions(None)


@given(
    st.datetimes(
        min_value=pd.Timestamp("1971-01-01").to_pydatetime(), max_value=pd.Timestamp("2200-01-01").to_pydatetime()
    ),
    st.integers(0, 999_999_999),
    st.integers(0, 9),
    st.sampled_from(["Z", "+00:00", "-04:00", "-05:00", "+05:45"]),
)
def test_instants_are_exact(moment: Any, nanosecond: int, digits: int, zone: str) -> None:
    """Against pandas, which reads RFC 3339 by another way."""
    fraction = f".{nanosecond:09d}"[: digits + 1] if digits else ""
    text = f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{zone}"
    assert read_instant(text, "t") == pd.Timestamp(text).as_unit("ns").value


@pytest.mark.parametrize(
    "text", ["now", "NaT", "2012-10-26", "2012-10-26T16:00Z", "2012-10-26 16:00:00Z", 5, None, True]
)
def test_other_times_are_refused(text: object) -> None:
    with pytest.raises(SpecError, match=r"t: found .*, expected a time such as 2012-10-26T20:00:00Z \(RFC 3339\)"):
        read_instant(text, "t")
