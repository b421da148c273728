"""The sub-account: worked examples, laws, and the text of each refusal."""

import json
import math
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.decision.account import AccountState, apply_fill, mark
from mlflow_ppo_flavor.decision.market import Fill
from mlflow_ppo_flavor.errors import BarsError, SpecError
from tests.decision import accounts
from tests.decision.accounts import replay

START = AccountState.start(1000.0)


def fill(quantity: str | int, price: float, fee: float = 0.0) -> Fill:
    """A fill at some time."""
    return Fill(0, Decimal(quantity), price, fee)


def test_a_fresh_account_is_flat_and_neutral() -> None:
    assert (START.cash, START.equity, START.peak, START.quantity) == (1000.0, 1000.0, 1000.0, 0)
    assert (START.total_pnl, START.win_rate, START.drawdown, START.trade_pnl) == (0.0, 0.5, 0.0, 0.0)


def test_a_long_trade_scaled_in_and_out() -> None:
    state = replay(START, [fill(10, 10.0, 1.0), 11.0, fill(5, 12.0, 1.0), fill(-12, 13.0, 1.0), 13.0])
    assert (state.quantity, state.cash, state.price) == (3, 993.0, 13.0)
    assert state.trade_flow == -7
    assert state.trade_pnl == 32.0
    assert (state.equity, state.total_pnl, state.position_value) == (1032.0, 32.0, 39.0)
    assert (state.wins, state.trades, state.win_rate) == (0, 0, 0.5)
    closed = apply_fill(state, fill(-3, 13.0))
    assert (closed.quantity, closed.cash, closed.wins, closed.trades, closed.win_rate) == (0, 1032.0, 1, 1, 1.0)
    assert closed.trade_pnl == 0.0


def test_a_short_trade_wins_when_the_price_falls() -> None:
    state = replay(START, [fill(-10, 10.0), 9.0])
    assert (state.equity, state.position_value, state.trade_pnl) == (1010.0, -90.0, 10.0)
    assert replay(state, [fill(10, 9.0)]).wins == 1


def test_costs_turn_a_won_trade_into_a_lost_one() -> None:
    state = replay(START, [fill(10, 10.0, 0.6), fill(-10, 10.1, 0.6)])
    assert (state.wins, state.trades) == (0, 1)


def test_a_fill_through_zero_closes_one_trade_and_opens_another_with_its_share_of_the_fee() -> None:
    state = replay(START, [fill(10, 10.0), fill(-40, 12.0, 4.0)])
    assert (state.quantity, state.wins, state.trades) == (-30, 1, 1)
    assert state.trade_flow == 30 * 12 - 3
    assert state.cash == 1000.0 - 100.0 + 480.0 - 4.0
    barely = replay(START, [fill(1, 10.0), fill(-3, 10.1, 0.3)])
    assert (barely.wins, barely.trades) == (0, 1), "its third of the fee makes it come out even"
    won = replay(START, [fill(1, 10.0), fill(-3, 10.2, 0.3)])
    assert (won.wins, won.trades) == (1, 1), "its third of the fee leaves 0.1, the whole fee would take more"


@pytest.mark.parametrize("prices", [(0.1, 0.2, 0.15), (100.1, 100.1, 100.1), (0.3, 0.6, 0.45)])
def test_a_trade_that_comes_out_even_is_not_won_by_a_rounding_error(prices: tuple[float, float, float]) -> None:
    bought, more, sold = prices
    state = replay(START, [fill("0.1", bought), fill("0.1", more), fill("-0.2", sold)])
    assert (state.wins, state.trades) == (0, 1)


def test_the_peak_is_seen_at_marks_alone() -> None:
    risen = replay(START, [fill(10, 10.0), fill(-5, 20.0)])
    assert (risen.equity, risen.peak, risen.drawdown) == (1100.0, 1000.0, 0.0)
    fallen = replay(risen, [20.0, 9.0])
    assert (fallen.peak, fallen.equity) == (1100.0, 1045.0)
    assert fallen.drawdown == pytest.approx(0.05)


def test_a_ruined_account_has_lost_everything_and_no_more() -> None:
    state = replay(START, [fill(-100, 10.0), 50.0])
    assert state.equity == -3000.0
    assert state.drawdown == 1.0


@given(accounts.equities, accounts.histories)
def test_a_mark_changes_price_and_peak_alone(equity: float, history: list[Fill | float]) -> None:
    state = replay(AccountState.start(equity), history)
    marked = mark(state, 12.5)
    assert marked == replace(state, price=12.5, peak=max(state.peak, marked.equity))
    assert mark(marked, 12.5) == marked


@given(accounts.equities, accounts.histories)
def test_the_peak_never_falls_and_counts_never_shrink(equity: float, history: list[Fill | float]) -> None:
    state = AccountState.start(equity)
    for event in history:
        after = replay(state, [event])
        assert after.peak >= state.peak
        assert 0 <= after.wins - state.wins <= after.trades - state.trades <= 1
        assert 0.0 <= after.drawdown <= 1.0
        assert 0.0 <= after.win_rate <= 1.0
        assert after.initial_equity == equity
        state = after


@given(accounts.reached, accounts.quantities, accounts.prices, accounts.decimals(0, 1, 3))
def test_a_fill_in_parts_is_the_same_trade(
    state: AccountState, quantity: Decimal, price: float, share: Decimal
) -> None:
    part = (quantity * share).quantize(quantity)
    parts = [Fill(0, piece, price, 0.0) for piece in (part, quantity - part) if piece]
    whole, split = replay(state, [Fill(0, quantity, price, 0.0)]), replay(state, list(parts))
    same = ("quantity", "trade_flow", "wins", "trades", "peak", "price")
    assert [getattr(whole, name) for name in same] == [getattr(split, name) for name in same]
    assert whole.cash == pytest.approx(split.cash, rel=1e-12, abs=1e-12 * abs(float(quantity)) * price)


@given(accounts.equities, st.lists(st.tuples(accounts.decimals("0.1", 100), accounts.prices), min_size=1, max_size=6))
def test_the_order_of_buys_does_not_change_their_trade(equity: float, buys: list[tuple[Decimal, float]]) -> None:
    one, other = (
        replay(AccountState.start(equity), [Fill(0, *buy, fee=0.25) for buy in order]) for order in (buys, buys[::-1])
    )
    assert (one.quantity, one.trade_flow, one.trades) == (other.quantity, other.trade_flow, other.trades)


@given(accounts.histories)
def test_a_history_mirrored_wins_where_the_other_loses(history: list[Fill | float]) -> None:
    free = [replace(event, fee=0.0) if isinstance(event, Fill) else event for event in history]
    turned = [replace(event, quantity=-event.quantity) if isinstance(event, Fill) else event for event in free]
    one, other = replay(START, free), replay(START, turned)
    assert (one.quantity, one.trade_flow, one.trades) == (
        other.quantity.copy_negate(),
        other.trade_flow.copy_negate(),
        other.trades,
    )
    assert one.wins + other.wins <= one.trades
    assert one.total_pnl == pytest.approx(-other.total_pnl, rel=1e-9, abs=1e-2)


@given(accounts.reached, accounts.fills)
def test_a_callers_decimal_context_changes_nothing(state: AccountState, event: Fill) -> None:
    with localcontext(prec=2):
        careless = apply_fill(state, event)
    assert careless == apply_fill(state, event)


@given(accounts.reached, accounts.histories)
def test_a_restart_midway_changes_nothing(state: AccountState, history: list[Fill | float]) -> None:
    restarted = AccountState.from_dict(json.loads(json.dumps(state.to_dict())))
    assert restarted == state
    assert replay(restarted, history) == replay(state, history)


@pytest.mark.parametrize("price", [math.nan, math.inf, 0.0, -3.0])
def test_a_mark_at_no_price_is_refused(price: float) -> None:
    with pytest.raises(BarsError) as refusal:
        mark(START, price)
    assert str(refusal.value) == f"price of a mark: found {price!r}, expected a finite price in [1e-12, 1e+15]"


@pytest.mark.parametrize("equity", [0.0, -5.0, math.nan, math.inf])
def test_an_account_without_money_does_not_start(equity: float) -> None:
    with pytest.raises(SpecError) as refusal:
        AccountState.start(equity)
    assert str(refusal.value) == f"initial_equity: found {equity!r}, expected a number in [1e-06, 1e+15]"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cash": math.nan}, "at.cash: found nan, expected a number in [-1e+30, 1e+30]"),
        ({"price": math.inf}, "at.price: found inf, expected a number in [0, 1e+15]"),
        ({"wins": 3}, "at.wins: found 3, expected at most the 2 closed trades"),
        ({"peak": 999.0}, "at.peak: found 999.0, expected at least the initial equity 1000.0"),
        ({"price": 0.0}, "at.price: found 0.0, expected a price above 0 where there is a position"),
        ({"quantity": "0"}, "at.trade_flow: found -40, expected 0 where there is no position"),
        (
            {"equity": 1.0},
            "at.equity: found an unknown key, expected one of"
            " initial_equity, cash, quantity, price, peak, wins, trades, trade_flow",
        ),
    ],
)
def test_a_refused_field_is_named(changes: dict[str, Any], message: str) -> None:
    data = AccountState(1000.0, 960.0, Decimal(4), 10.0, 1000.0, 1, 2, Decimal(-40)).to_dict()
    assert AccountState.from_dict(data, "at").quantity == 4
    with pytest.raises(SpecError) as refusal:
        AccountState.from_dict(data | changes, "at")
    assert str(refusal.value) == message


@pytest.mark.parametrize("found", [1.5, "NaN", "x"])
def test_a_trade_flow_is_a_decimal_string(found: object) -> None:
    with pytest.raises(SpecError, match=r"^trade_flow: found .*, expected a decimal number as a string"):
        AccountState.from_dict(START.to_dict() | {"trade_flow": found})


def test_the_smallest_rebate_makes_a_trade_won() -> None:
    smallest = 5e-324
    state = replay(AccountState.start(1.0), [Fill(0, Decimal(1), 1.0, 0.0), Fill(0, Decimal(-1), 1.0, -smallest)])
    assert (state.wins, state.trades) == (1, 1)
