"""Account and sizing against a naive ledger of the whole history, and parity over restarts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import Sizing
from mlflow_ppo_flavor.decision.account import AccountState, apply_fill, mark
from mlflow_ppo_flavor.decision.action import Decision, Instrument, decide
from mlflow_ppo_flavor.decision.market import Costs, Fill, fill_at_open
from mlflow_ppo_flavor.decision.observation import build_observation
from tests.decision import accounts
from tests.decision.ledger import Ledger, order

SPEC = replace(MODEL_SPECS["2.7.0"], window=4)
MARKET = np.random.default_rng(0).normal(size=(SPEC.window, len(SPEC.market_features))).astype(np.float32)
ROUNDING = Fraction(1, 10**12)


def agree(state: AccountState, ledger: Ledger) -> None:
    """The account is the ledger's: counts and quantities exactly, money to a share of all that ever moved."""
    closed, flow = ledger.trades()
    near = pytest.approx
    tolerance = float(ledger.turnover * ROUNDING)
    assert Fraction(state.quantity) == ledger.quantity
    assert (state.trades, state.wins) == (len(closed), sum(pnl > 0 for pnl in closed))
    assert abs(Fraction(state.trade_flow) - flow) <= Fraction(1, 10**50)
    assert state.cash == near(float(ledger.cash), abs=tolerance)
    assert state.equity == near(float(ledger.equity), abs=tolerance)
    assert state.total_pnl == near(float(ledger.equity - ledger.initial), abs=tolerance)
    assert state.trade_pnl == near(float(flow + ledger.quantity * ledger.last_price), abs=tolerance)
    assert state.peak == near(float(ledger.peak), abs=tolerance * len(ledger.marks))


@given(accounts.equities, accounts.histories)
def test_an_account_is_what_its_whole_history_says(equity: float, history: list[Fill | float]) -> None:
    state, ledger = AccountState.start(equity), Ledger(equity)
    for event in history:
        state = accounts.replay(state, [event])
        ledger.enter(event)
        agree(state, ledger)


@given(accounts.equities, st.lists(accounts.fills, max_size=15))
def test_a_flat_account_has_lost_and_won_what_its_trades_did(equity: float, fills: list[Fill]) -> None:
    ledger = Ledger(equity)
    for event in fills:
        ledger.enter(event)
    closing = -sum((event.quantity for event in fills), Decimal(0))
    fills = [*fills, Fill(0, closing, 10.0, 0.5)] if closing else fills
    state, pnls = accounts.replay(AccountState.start(equity), list(fills)), Ledger(equity)
    for event in fills:
        pnls.enter(event)
    closed, _ = pnls.trades()
    assert (state.quantity, state.trade_flow) == (0, 0)
    assert state.total_pnl == pytest.approx(float(sum(closed)), abs=float(pnls.turnover * ROUNDING))


@given(st.integers(0, 6), accounts.sizings, accounts.traded(), accounts.instruments)
def test_an_order_is_what_the_rules_say(
    action: int, sizing: Sizing, traded: tuple[AccountState, float], instrument: Instrument
) -> None:
    state, price = traded
    decision = decide(action, replace(SPEC, sizing=sizing), state, instrument, price)
    entry, cash, held = SPEC.actions[action], Fraction(state.cash), Fraction(state.quantity)
    # in floats an amount is known to a rounding error, which may be a whole step of the instrument
    less, more = (
        order(entry.direction, entry.size, sizing, cash, held, instrument, price, off) for off in (-ROUNDING, ROUNDING)
    )
    assert abs(less[0]) <= abs(Fraction(decision.quantity)) <= abs(more[0])
    assert decision.skipped in (less[1], more[1])
    assert decision.notional == pytest.approx(float(abs(Fraction(decision.quantity)) * Fraction(price)), rel=1e-14)


@dataclass(frozen=True)
class Day:
    """One bar of a walk: where it opens and closes, and what the policy does at its close."""

    open: float
    close: float
    action: int


days = st.lists(
    st.builds(Day, st.floats(5, 20), st.floats(5, 20), st.integers(0, 6))
    | st.builds(Day, st.just(10.0), st.just(10.0), st.sampled_from((3, 6))),
    min_size=2,
    max_size=30,
)


def walk(
    state: AccountState,
    days: Sequence[Day],
    sizing: Sizing,
    instrument: Instrument,
    costs: Costs,
    pending: Decimal = Decimal(0),
    first: int = 0,
) -> list[tuple[bytes, Decision, AccountState, Fill | None]]:
    """What each day brings: observation, decision, the account at its close and the fill at its open."""
    spec, steps = replace(SPEC, sizing=sizing), []
    for number, day in enumerate(days[first:], start=first):
        fill = fill_at_open(pending, number, day.open, costs) if pending else None
        state = mark(apply_fill(state, fill) if fill else state, day.close)
        observation = build_observation(MARKET, state, spec).tobytes()
        decision = decide(day.action, spec, state, instrument, day.close)
        pending = decision.quantity
        steps.append((observation, decision, state, fill))
    return steps


shorts = st.builds(Sizing, st.floats(0.1, 1), st.floats(0, 0.5), st.floats(0.1, 1), st.booleans())


@given(days, shorts, accounts.instruments, accounts.costs, st.data())
def test_whoever_goes_on_from_the_journal_sees_and_orders_the_same_bits(
    days: list[Day], sizing: Sizing, instrument: Instrument, costs: Costs, data: st.DataObject
) -> None:
    whole = walk(AccountState.start(10_000.0), days, sizing, instrument, costs)
    for cut in data.draw(st.lists(st.integers(1, len(days) - 1), min_size=1, max_size=4)):
        journal = json.dumps([whole[cut - 1][2].to_dict(), whole[cut - 1][1].to_dict(), instrument.to_dict()])
        account, decision, traded = json.loads(journal)
        again = walk(
            AccountState.from_dict(account),
            days,
            sizing,
            Instrument.from_dict(traded),
            Costs.from_dict(json.loads(json.dumps(costs.to_dict()))),
            Decision.from_dict(decision).quantity,
            first=cut,
        )
        assert again == whole[cut:]


@given(days, shorts, accounts.instruments, accounts.costs)
def test_a_whole_walk_is_what_the_ledger_says(
    days: list[Day], sizing: Sizing, instrument: Instrument, costs: Costs
) -> None:
    ledger = Ledger(10_000.0)
    for (_, decision, state, fill), day in zip(
        walk(AccountState.start(10_000.0), days, sizing, instrument, costs), days, strict=True
    ):
        if fill:
            ledger.enter(fill)
        ledger.enter(day.close)
        agree(state, ledger)
        assert decision.equity == state.equity
        assert sizing.allow_short or state.quantity >= 0
        assert state.quantity * (state.quantity + decision.quantity) >= 0


@given(days, shorts, accounts.instruments, accounts.costs)
def test_fills_told_by_a_venue_lead_to_the_same_observations(
    days: list[Day], sizing: Sizing, instrument: Instrument, costs: Costs
) -> None:
    whole = walk(AccountState.start(10_000.0), days, sizing, instrument, costs)
    state = AccountState.start(10_000.0)
    for (observation, _, expected, fill), day in zip(whole, days, strict=True):
        if fill:
            state = apply_fill(state, Fill.from_dict(json.loads(json.dumps(fill.to_dict()))))
        state = mark(state, day.close)
        assert state == expected
        assert build_observation(MARKET, state, replace(SPEC, sizing=sizing)).tobytes() == observation
