"""How an order becomes a fill and what it costs: the one model of environment, backtest and simulated exchange."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.errors import ActionError, BarsError, SpecError

MIN_PRICE, MAX_PRICE = 1e-12, 1e15
MAX_MONEY = 1e15
MAX_QUANTITY = Decimal(10) ** 15
MAX_DECIMALS = 18
EXACT = Context(prec=800)
"""Decimal arithmetic that is exact for what the readers let in, whatever context a caller has set."""


def check_price(price: float, place: str) -> float:
    """`price` as a float; BarsError unless it is a price: finite, above 0, in [1e-12, 1e15]."""
    value = float(price)
    if not MIN_PRICE <= value <= MAX_PRICE:
        raise BarsError(f"{place}: found {value!r}, expected a finite price in [{MIN_PRICE:g}, {MAX_PRICE:g}]")
    return value


def read_decimal(
    value: object,
    path: str,
    *,
    low: Decimal = -MAX_QUANTITY,
    high: Decimal = MAX_QUANTITY,
    decimals: int = MAX_DECIMALS,
) -> Decimal:
    """A Decimal in [low, high] from its string; SpecError for anything else, floats included."""
    expected = f"a decimal number as a string, in [{low:f}, {high:f}], with at most {decimals} decimals"
    if not isinstance(value, str):
        raise SpecError(path, parsing.show(value), expected)
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise SpecError(path, parsing.show(value), expected) from None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -decimals or not low <= number <= high:
        raise SpecError(path, parsing.show(value), expected)
    return number


@dataclass(frozen=True, slots=True)
class Costs:
    """What trading costs, in basis points (1e-4).

    `spread_bps` moves the price against the trader (half the spread plus slippage), `commission_bps` is a fee on the
    notional. The defaults are those of a liquid US equity at a broker without commission; crypto venues take about 25
    in commission.
    """

    spread_bps: float = 5.0
    commission_bps: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The costs as JSON values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Costs:
        """Read costs, each in [0, 1000] basis points; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [field.name for field in fields(cls)], where="costs")
        bound = {"low": 0.0, "high": 1000.0}
        return cls(
            spread_bps=parsing.take(read, "spread_bps", path, parsing.number, **bound),
            commission_bps=parsing.take(read, "commission_bps", path, parsing.number, **bound),
        )


@dataclass(frozen=True, slots=True)
class Fill:
    """What a venue executed: `time` in UTC nanoseconds, `quantity` signed (bought > 0), `price` of one, `fee` in money.

    Build with `from_dict` what a venue told, so that every field is checked.
    """

    time: int
    quantity: Decimal
    price: float
    fee: float

    def to_dict(self) -> dict[str, Any]:
        """The fill as JSON values, the quantity as a string."""
        return {"time": self.time, "quantity": f"{self.quantity:f}", "price": self.price, "fee": self.fee}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Fill:
        """Read a fill; SpecError with its dotted path for anything else. A fee may be negative: a maker's rebate."""
        read = parsing.mapping(data, path, [field.name for field in fields(cls)], where="fill")
        quantity = parsing.take(read, "quantity", path, read_decimal)
        if not quantity:
            raise SpecError(parsing.join(path, "quantity"), parsing.show(read["quantity"]), "a quantity that isn't 0")
        return cls(
            time=parsing.take(read, "time", path, parsing.integer, low=-(2**63), high=2**63 - 1),
            quantity=quantity,
            price=parsing.take(read, "price", path, parsing.number, low=MIN_PRICE, high=MAX_PRICE),
            fee=parsing.take(read, "fee", path, parsing.number, low=-MAX_MONEY, high=MAX_MONEY),
        )


def fill_at_open(quantity: Decimal, time: int, open_price: float, costs: Costs) -> Fill:
    """The fill of a market order at a bar's open: `quantity` signed, `time` of the bar in UTC nanoseconds.

    A buyer pays the open plus the spread, a seller gets it less the spread; the commission is on that price. An order
    decided at a close fills at the next open however far that is, also tenfold: nobody could have known. BarsError for
    a price that isn't one, ActionError for a quantity of 0: a decision without one sends no order.
    """
    price = check_price(open_price, "open price of a fill")
    if not quantity:
        raise ActionError(
            "quantity of a fill: found 0, expected a signed quantity: a decision with quantity 0 sends no order"
        )
    side = 1.0 if quantity > 0 else -1.0
    paid = price * (1.0 + side * costs.spread_bps * 1e-4)
    return Fill(time, quantity, paid, abs(float(quantity)) * paid * costs.commission_bps * 1e-4)
