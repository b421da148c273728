"""From action to order: worked examples of sizing, the laws of every decision, and the text of each refusal."""

import json
import math
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.spec import Action, ModelSpec, Sizing
from mlflow_ppo_flavor.decision.account import AccountState
from mlflow_ppo_flavor.decision.action import SKIPS, Decision, Instrument, decide
from mlflow_ppo_flavor.errors import ActionError, BarsError, SpecError
from tests.decision import accounts

SPEC = MODEL_SPECS["2.7.0"]
HOLD, BUY_25, BUY_50, BUY_75, SELL_25, SELL_50, SELL_75 = range(7)
ANY_ACTION = st.integers(0, 6)
STOCK, WHOLE, COIN = (
    Instrument.equity("AAPL"),
    Instrument.equity("IBM", fractionable=False),
    Instrument.crypto("BTC/USD"),
)


def sized(**sizing: Any) -> ModelSpec:
    """The spec 2.7.0 with another sizing."""
    return replace(SPEC, sizing=Sizing(**sizing))


def held(quantity: str | int, price: float, equity: float = 100_000.0) -> AccountState:
    """An account of that equity that holds so much at that price."""
    position = Decimal(quantity)
    return AccountState(
        equity, equity - float(position) * price, position, price, equity, 0, 0, -position * Decimal(repr(price))
    )


LOTS = Instrument("XYZ", Decimal(20), Decimal(100), Decimal(0), shortable=False, fractionable=False)
EVERYTHING = sized(base_allocation=1.0, safety_buffer=0.0, max_position=1.0)
SHORTS = sized(allow_short=True)


@pytest.mark.parametrize(
    ("spec", "action", "state", "instrument", "price", "quantity", "skipped"),
    [
        # 100,000 × 0.7 × 0.15 = 10,500 is a full step
        (SPEC, BUY_25, held(0, 50.0), STOCK, 50.0, "52.5", None),
        (SPEC, BUY_75, held(0, 50.0), STOCK, 50.0, "157.5", None),
        (SPEC, BUY_25, held(0, 50.0), WHOLE, 50.0, "52", None),
        (SPEC, BUY_50, held(0, 70.0), STOCK, 70.0, "75", None),
        (SPEC, BUY_50, held(0, 3.0), STOCK, 3.0, "1750", None),
        (SPEC, BUY_50, held(0, 700.0), STOCK, 700.0, "7.5", None),
        (SPEC, BUY_25, held(0, 90.0), STOCK, 90.0, "29.166666666", None),
        (SPEC, BUY_25, held(0, 60_000.0), COIN, 60_000.0, "0.04375", None),
        (SPEC, HOLD, held(0, 50.0), STOCK, 50.0, "0", None),
        (SPEC, HOLD, held(300, 50.0), STOCK, 50.0, "0", None),
        # scaling in: 20,000 is the most a position may be worth
        (SPEC, BUY_75, held(200, 50.0), STOCK, 50.0, "157.5", None),
        (SPEC, BUY_75, held(300, 50.0), STOCK, 50.0, "100", None),
        (SPEC, BUY_75, held(400, 50.0), STOCK, 50.0, "0", "max_position"),
        (SPEC, BUY_75, held("399.99", 50.0), STOCK, 50.0, "0", "max_position"),
        (SPEC, BUY_75, held("399.98", 50.0), STOCK, 50.0, "0.02", None),
        (SPEC, HOLD, held(600, 50.0), STOCK, 50.0, "0", None),
        (SPEC, BUY_25, held(600, 50.0), STOCK, 50.0, "0", "max_position"),
        # a reduction: the same notional, never through zero
        (SPEC, SELL_25, held(400, 50.0), STOCK, 50.0, "-52.5", None),
        (SPEC, SELL_25, held(600, 50.0), STOCK, 50.0, "-52.5", None),
        (SPEC, SELL_75, held(100, 50.0), STOCK, 50.0, "-100", None),
        (SPEC, SELL_75, held("0.5", 50.0), STOCK, 50.0, "-0.5", None),
        (SPEC, SELL_25, held(0, 50.0), STOCK, 50.0, "0", "no_position"),
        # a remainder that the venue wouldn't take alone goes with the exit
        (SPEC, SELL_25, held("52.519", 50.0), STOCK, 50.0, "-52.519", None),
        (SPEC, SELL_25, held("52.52", 50.0), STOCK, 50.0, "-52.5", None),
        (SPEC, SELL_25, held("0.0439", 60_000.0), COIN, 60_000.0, "-0.0439", None),
        (SPEC, SELL_75, held("0.0000000015", 60_000.0), COIN, 60_000.0, "0", "below_minimum"),
        (SPEC, SELL_75, held("0.0100000000075", 60_000.0), COIN, 60_000.0, "-0.010000000", None),
        (SPEC, SELL_25, held("0.01", 50.0), STOCK, 50.0, "0", "below_minimum"),
        # below the venue's minimum
        (SPEC, BUY_25, held(0, 50.0, equity=30.0), STOCK, 50.0, "0", "below_minimum"),
        (SPEC, BUY_25, held(0, 50.0, equity=40.0), STOCK, 50.0, "0.021", None),
        (SPEC, BUY_25, held(0, 50.0, equity=1900.0), WHOLE, 50.0, "0", "below_minimum"),
        (SPEC, BUY_25, held(0, 50.0, equity=1905.0), WHOLE, 50.0, "1", None),
        (SPEC, BUY_25, held(0, 50.0, equity=380.0), COIN, 50.0, "0", "below_minimum"),
        (SPEC, BUY_25, held(0, 50.0, equity=400.0), COIN, 50.0, "0.21", None),
        (SPEC, BUY_25, held(0, 50.0), LOTS, 50.0, "0", "below_minimum"),
        (SPEC, BUY_50, held(0, 50.0), LOTS, 50.0, "100", None),
        (SPEC, SELL_50, held(180, 50.0), LOTS, 50.0, "-180", None),
        (SPEC, SELL_50, held(200, 50.0), LOTS, 50.0, "-100", None),
        # without a buffer: all the cash, and none that isn't there
        (EVERYTHING, BUY_75, held(0, 50.0), STOCK, 50.0, "1500", None),
        (EVERYTHING, BUY_75, held(1500, 50.0), STOCK, 50.0, "500", None),
        (EVERYTHING, BUY_75, held(2000, 50.0), STOCK, 50.0, "0", "max_position"),
        (EVERYTHING, BUY_75, replace(held(10, 50.0), cash=100.0), STOCK, 50.0, "2", None),
        (EVERYTHING, BUY_75, replace(held(10, 50.0), cash=-5.0), STOCK, 50.0, "0", "max_position"),
        # shorts: whole shares, also of a stock that trades in parts
        (SHORTS, SELL_25, held(0, 50.0), STOCK, 50.0, "-52", None),
        (SHORTS, SELL_25, held(0, 50.0), COIN, 50.0, "0", "no_position"),
        (SHORTS, SELL_75, held(-300, 50.0), STOCK, 50.0, "-100", None),
        (SHORTS, SELL_75, held(-400, 50.0), STOCK, 50.0, "0", "max_position"),
        (SHORTS, BUY_75, held(-400, 50.0), STOCK, 50.0, "157", None),
        (SHORTS, BUY_75, held(-100, 50.0), STOCK, 50.0, "100", None),
        (SHORTS, SELL_75, held(100, 50.0), STOCK, 50.0, "-100", None),
        (SHORTS, SELL_25, held(0, 3000.0), STOCK, 3000.0, "0", "below_minimum"),
        (SPEC, BUY_75, held(-100, 50.0), STOCK, 50.0, "100", None),
        (SPEC, SELL_75, held(-100, 50.0), STOCK, 50.0, "0", "no_position"),
        # ruined
        (SPEC, BUY_25, replace(held(0, 50.0), cash=0.0), STOCK, 50.0, "0", "no_equity"),
        (SPEC, SELL_25, replace(held(10, 50.0), cash=-600.0), STOCK, 50.0, "0", "no_equity"),
        (SPEC, HOLD, replace(held(0, 50.0), cash=-1.0), STOCK, 50.0, "0", None),
    ],
)  # fmt: skip
def test_worked_examples(
    spec: ModelSpec,
    action: int,
    state: AccountState,
    instrument: Instrument,
    price: float,
    quantity: str,
    skipped: str | None,
) -> None:
    decision = decide(action, spec, state, instrument, price)
    assert (decision.quantity, decision.skipped) == (Decimal(quantity), skipped)
    assert decision.notional == abs(float(quantity)) * price
    assert decision.equity == state.equity_at(price)
    assert decision.price == price
    entry = spec.actions[action]
    assert (decision.action, decision.meaning) == (action, entry.name)
    assert (decision.direction, decision.size) == (entry.direction, entry.size)


def test_a_released_spec_of_three_actions_trades_half_a_step() -> None:
    assert decide(1, MODEL_SPECS["2.6.0"], held(0, 50.0), STOCK, 50.0).quantity == 105


@pytest.mark.parametrize("action", [True, 1.0, "1", None, -1, 7, np.bool_(True), np.float32(1)])
def test_what_is_no_action_is_refused(action: Any) -> None:
    with pytest.raises(ActionError, match=r"^action: found .*, expected an integer in \[0, 6\] \(spec 2\.7\.0\)"):
        decide(action, SPEC, held(0, 50.0), STOCK, 50.0)


@pytest.mark.parametrize("price", [math.nan, math.inf, 0.0, -1.0])
@pytest.mark.parametrize("action", [HOLD, BUY_25])
def test_what_is_no_price_is_refused(action: int, price: float) -> None:
    with pytest.raises(BarsError) as refusal:
        decide(action, SPEC, held(0, 50.0), STOCK, price)
    assert str(refusal.value) == f"price of a decision: found {price!r}, expected a finite price in [1e-12, 1e+15]"


@given(ANY_ACTION, accounts.sizings, accounts.traded(), accounts.instruments)
def test_laws_of_every_decision(
    action: int, sizing: Sizing, traded: tuple[AccountState, float], instrument: Instrument
) -> None:
    state, price = traded
    spec = replace(SPEC, sizing=sizing)
    decision = decide(action, spec, state, instrument, price)
    entry, at, before = spec.actions[action], Fraction(price), Fraction(state.quantity)
    change = Fraction(decision.quantity)
    worth, after, equity = abs(change) * at, before + change, state.equity_at(price)
    assert change == 0 or (change > 0) == (entry.direction > 0)
    assert (decision.skipped is None) == (change != 0 or action == HOLD)
    assert decision.skipped is None or decision.skipped in SKIPS
    if not change:
        return
    increases = before * change >= 0
    assert change % Fraction(instrument.step) == 0
    assert abs(change) >= Fraction(instrument.min_quantity)
    assert worth >= Fraction(instrument.min_notional)
    assert before * after >= 0, "never through zero"
    step = Fraction(entry.size * (equity * (1.0 - sizing.safety_buffer) * sizing.base_allocation))
    if increases:
        assert abs(after) * at <= Fraction(sizing.max_position * equity)
        assert change < 0 or worth <= Fraction(state.cash) + Fraction(equity) / 10**12
        assert worth <= step
        assert change > 0 or (sizing.allow_short and instrument.shortable and change.denominator == 1)
    else:
        unit = max(Fraction(instrument.step), Fraction(1)) if before < 0 else Fraction(instrument.step)
        rest = abs(after) // unit * unit
        assert rest == 0 or (
            rest * at >= Fraction(instrument.min_notional) and rest >= Fraction(instrument.min_quantity)
        )
        assert worth <= step or rest == 0, "more than a step only where nothing that could be sold is left"


@given(ANY_ACTION, accounts.traded(), accounts.instruments)
def test_a_callers_decimal_context_and_number_types_change_nothing(
    action: int, traded: tuple[AccountState, float], instrument: Instrument
) -> None:
    state, price = traded
    expected = decide(action, SHORTS, state, instrument, price)
    with localcontext(prec=2):
        assert decide(action, SHORTS, state, instrument, price) == expected
    from_arrays = decide(np.int64(action), SHORTS, state, instrument, np.float64(price))
    assert from_arrays == expected
    assert type(from_arrays.action) is int
    assert type(from_arrays.price) is type(from_arrays.equity) is type(from_arrays.notional) is float


@given(ANY_ACTION, accounts.traded(), st.sampled_from((STOCK, WHOLE, COIN)), st.integers(-8, 8))
def test_the_unit_of_money_changes_no_quantity(
    action: int, traded: tuple[AccountState, float], instrument: Instrument, power: int
) -> None:
    (state, price), scale = traded, 2.0**power
    free = replace(instrument, min_notional=Decimal(0))
    other = replace(state, cash=state.cash * scale)
    one, scaled = decide(action, SHORTS, state, free, price), decide(action, SHORTS, other, free, price * scale)
    assert (one.quantity, one.skipped) == (scaled.quantity, scaled.skipped)


@given(ANY_ACTION, accounts.sizings, accounts.traded(), accounts.instruments)
def test_what_the_account_went_through_changes_no_order(
    action: int, sizing: Sizing, traded: tuple[AccountState, float], instrument: Instrument
) -> None:
    state, price = traded
    other = replace(state, initial_equity=1.0, price=1.0, peak=9e9, wins=3, trades=4, trade_flow=Decimal(7))
    spec = replace(SPEC, sizing=sizing)
    assert decide(action, spec, state, instrument, price) == decide(action, spec, other, instrument, price)


@given(accounts.traded(), accounts.instruments, st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_larger_size_orders_no_less(
    traded: tuple[AccountState, float], instrument: Instrument, one: float, other: float
) -> None:
    state, price = traded
    assume(one <= other)
    spec = replace(SPEC, actions=(Action("LESS", 1, one), Action("MORE", 1, other)))
    less, more = (decide(action, spec, state, instrument, price).quantity for action in (0, 1))
    assert less <= more


@given(accounts.instruments | accounts.decisions)
def test_values_come_back_equal_through_json(value: Instrument | Decision) -> None:
    assert type(value).from_dict(json.loads(json.dumps(value.to_dict()))) == value


@given(ANY_ACTION, accounts.sizings, accounts.traded(), accounts.instruments)
def test_decisions_that_are_made_come_back_equal(
    action: int, sizing: Sizing, traded: tuple[AccountState, float], instrument: Instrument
) -> None:
    decision = decide(action, replace(SPEC, sizing=sizing), traded[0], instrument, traded[1])
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": 2}, "at.direction: found 2, expected one of -1, 0, 1"),
        ({"skipped": "bored"}, f"at.skipped: found 'bored', expected one of {', '.join(SKIPS)}"),
        (
            {"skipped": "no_equity"},
            "at.quantity: found 105.000000000 with direction 1, skipped no_equity,"
            " expected a quantity in the direction, 0 where it is skipped",
        ),
        (
            {"direction": -1},
            "at.quantity: found 105.000000000 with direction -1, skipped None,"
            " expected a quantity in the direction, 0 where it is skipped",
        ),
        ({"price": math.nan}, "at.price: found nan, expected a number in [1e-12, 1e+15]"),
        (
            {"why": 1},
            "at.why: found an unknown key, expected one of"
            " action, meaning, direction, size, quantity, notional, skipped, equity, price",
        ),
    ],
)
def test_a_refused_field_of_a_decision_is_named(changes: dict[str, Any], message: str) -> None:
    data = decide(BUY_50, SPEC, held(0, 50.0), STOCK, 50.0).to_dict()
    with pytest.raises(SpecError) as refusal:
        Decision.from_dict(data | changes, "at")
    assert str(refusal.value) == message


STEP = "a decimal number as a string, in [0.000000000000000001, 1000000000000000], with at most 18 decimals"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbol": ""}, "at.symbol: found '', expected a string that isn't empty"),
        ({"step": 1}, f"at.step: found 1, expected {STEP}"),
        ({"step": "0"}, f"at.step: found '0', expected {STEP}"),
        ({"step": "0.5"}, "at.step: found 0.5, expected whole shares: parts don't trade"),
        ({"step": "0.7", "fractionable": True}, "at.step: found 0.7, expected a part of 1 that divides it"),
        ({"step": "1.5", "fractionable": True}, "at.step: found 1.5, expected a part of 1 that divides it"),
        ({"shortable": 1}, "at.shortable: found 1, expected true or false"),
        (
            {"lot": 1},
            "at.lot: found an unknown key, expected one of"
            " symbol, step, min_quantity, min_notional, shortable, fractionable",
        ),
    ],
)
def test_a_refused_field_of_an_instrument_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as refusal:
        Instrument.from_dict(WHOLE.to_dict() | changes, "at")
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("instrument", "symbol", "step", "least_worth", "shortable", "fractionable"),
    [
        (STOCK, "AAPL", "1e-9", 1, True, True),
        (WHOLE, "IBM", "1", 0, True, False),
        (COIN, "BTC/USD", "1e-9", 10, False, True),
        (Instrument.equity("GOOG", shortable=False), "GOOG", "1e-9", 1, False, True),
    ],
)
def test_instruments_of_the_venue(
    instrument: Instrument, symbol: str, step: str, least_worth: int, shortable: bool, fractionable: bool
) -> None:
    smallest = Decimal(step)
    assert instrument == Instrument(symbol, smallest, smallest, Decimal(least_worth), shortable, fractionable)
