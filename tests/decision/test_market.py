"""The fill model: what a fill at the open costs, and the text of each refusal."""

import json
import math
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_ppo_flavor.decision.market import EXACT, Costs, Fill, check_price, fill_at_open, read_decimal
from mlflow_ppo_flavor.errors import ActionError, BarsError, SpecError
from tests.decision import accounts

FREE = Costs(spread_bps=0.0, commission_bps=0.0)


@pytest.mark.parametrize(
    ("quantity", "price", "fee"),
    [("10", 100.05, 0.25012500000000004), ("-10", 99.95, 0.249875), ("0.5", 100.05, 0.01250625)],
)
def test_a_buyer_pays_the_spread_a_seller_gets_less_and_both_pay_commission(
    quantity: str, price: float, fee: float
) -> None:
    fill = fill_at_open(Decimal(quantity), 7, 100.0, Costs(spread_bps=5.0, commission_bps=2.5))
    assert fill.time == 7
    assert fill.quantity == Decimal(quantity)
    assert fill.price == pytest.approx(price, rel=1e-15)
    assert fill.fee == pytest.approx(fee, rel=1e-14)


def test_default_costs_are_half_a_spread_of_five_basis_points_without_commission() -> None:
    assert Costs() == Costs(spread_bps=5.0, commission_bps=0.0)


@given(accounts.quantities, accounts.prices, accounts.costs)
def test_the_trader_loses_what_the_costs_say_and_nothing_else(quantity: Decimal, price: float, costs: Costs) -> None:
    fill = fill_at_open(quantity, 0, price, costs)
    side = 1 if quantity > 0 else -1
    spread, commission = Fraction(costs.spread_bps) / 10_000, Fraction(costs.commission_bps) / 10_000
    paid = Fraction(price) * (1 + side * spread)
    assert fill.quantity is quantity
    assert fill.price == pytest.approx(float(paid), rel=1e-14)
    assert fill.fee == pytest.approx(float(abs(Fraction(quantity)) * paid * commission), rel=1e-13)


@given(accounts.quantities, accounts.prices)
def test_without_costs_a_fill_is_at_the_open_to_the_bit(quantity: Decimal, price: float) -> None:
    fill = fill_at_open(quantity, 0, price, FREE)
    assert (fill.price, fill.fee) == (price, 0.0)


def test_a_tenfold_gap_fills_like_any_other_open() -> None:
    assert fill_at_open(Decimal(1), 0, 1000.0, FREE).price == 1000.0


def test_a_price_out_of_an_array_becomes_a_plain_float() -> None:
    fill = fill_at_open(Decimal(1), 0, np.float64(12.5), Costs())
    assert type(fill.price) is type(fill.fee) is float


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-13, 1e16])
def test_what_is_no_price_is_refused(price: float) -> None:
    with pytest.raises(BarsError) as refusal:
        fill_at_open(Decimal(1), 0, price, FREE)
    assert str(refusal.value) == f"open price of a fill: found {price!r}, expected a finite price in [1e-12, 1e+15]"


def test_the_bounds_of_a_price_are_prices() -> None:
    assert [check_price(price, "price") for price in (1e-12, 1e15)] == [1e-12, 1e15]


def test_a_fill_of_nothing_is_refused() -> None:
    with pytest.raises(ActionError) as refusal:
        fill_at_open(Decimal("0E-9"), 0, 10.0, FREE)
    assert str(refusal.value) == (
        "quantity of a fill: found 0, expected a signed quantity: a decision with quantity 0 sends no order"
    )


@given(accounts.costs | accounts.fills)
def test_values_come_back_equal_through_json(value: Costs | Fill) -> None:
    assert type(value).from_dict(json.loads(json.dumps(value.to_dict()))) == value


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (Costs, {"spread_bps": -1}, "at.spread_bps: found -1, expected a number in [0, 1000]"),
        (Costs, {"commission_bps": math.nan}, "at.commission_bps: found nan, expected a number in [0, 1000]"),
        (Costs, {"slippage": 1}, "at.slippage: found an unknown key, expected one of spread_bps, commission_bps"),
        (Fill, {"price": 0}, "at.price: found 0, expected a number in [1e-12, 1e+15]"),
        (Fill, {"fee": math.inf}, "at.fee: found inf, expected a number in [-1e+15, 1e+15]"),
        (Fill, {"quantity": "0.000"}, "at.quantity: found '0.000', expected a quantity that isn't 0"),
        (Fill, {"time": 1.5}, f"at.time: found 1.5, expected a whole number in [{-(2**63)}, {2**63 - 1}]"),
    ],
)
def test_a_refused_field_is_named(kind: Any, changes: dict[str, Any], message: str) -> None:
    value = Costs() if kind is Costs else Fill(0, Decimal(1), 10.0, 0.0)
    with pytest.raises(SpecError) as refusal:
        kind.from_dict(value.to_dict() | changes, "at")
    assert str(refusal.value) == message


@pytest.mark.parametrize("kind", [Costs, Fill])
def test_no_mapping_is_refused_by_its_name(kind: Any) -> None:
    with pytest.raises(SpecError, match=rf"^{kind.__name__.lower()}: found 3, expected a mapping$"):
        kind.from_dict(3)


@pytest.mark.parametrize("found", [1.5, 3, None, "", "x", "NaN", "Infinity", "1E-19", "1e16", "-1000000000000001"])
def test_what_is_no_quantity_is_refused(found: object) -> None:
    limit = "1000000000000000"
    with pytest.raises(SpecError) as refusal:
        read_decimal(found, "quantity")
    assert str(refusal.value) == (
        f"quantity: found {found!r}, expected a decimal number as a string, in [-{limit}, {limit}],"
        " with at most 18 decimals"
    )


@given(st.decimals(-(10**15), 10**15, places=18), st.decimals(-(10**15), 10**15, places=18))
def test_exact_arithmetic_is_exact_in_any_context(one: Decimal, other: Decimal) -> None:
    with localcontext(prec=3):
        product, total = EXACT.multiply(one, other), EXACT.add(one, other)
    assert Fraction(product) == Fraction(one) * Fraction(other)
    assert Fraction(total) == Fraction(one) + Fraction(other)
