"""Orders as the venue keeps them: what was asked for, and what has become of it. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Literal

from mlflow_ppo_flavor.decision.market import EXACT

MARKET, LIMIT = "market", "limit"
DAY, GTC = "day", "gtc"
BUY, SELL = 1, -1
OPEN_STATUSES = frozenset({"accepted", "pending_new", "new"})
QUANTITY_STEP = Decimal("1e-9")
Status = Literal["accepted", "pending_new", "new", "filled", "canceled", "expired"]


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a client asks for: `side` is 1 or -1; either `quantity` or `notional` (of a market order) is given, above
    0.
    """

    symbol: str
    side: int
    kind: str
    time_in_force: str
    quantity: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    client_order_id: str | None = None

    @property
    def is_fractional(self) -> bool:
        """Whether it may trade parts of a share."""
        return self.quantity is None or self.quantity != self.quantity.to_integral_value()


@dataclass(frozen=True, slots=True)
class Order:
    """An order in the book. Times are UTC nanoseconds, None until they come.

    `size` is what it holds of a position or is expected to trade: its quantity, or its notional at the price it was
    given at. `reserved` is the buying power that it holds while it is open: 0 where it reduces a position.
    """

    order_id: str
    client_order_id: str
    request: OrderRequest
    status: Status
    submitted_at: int
    updated_at: int
    expires_at: int
    size: Decimal
    reserved: Decimal
    filled_quantity: Decimal = Decimal(0)
    filled_price: float | None = None
    filled_at: int | None = None
    canceled_at: int | None = None
    expired_at: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can still trade."""
        return self.status in OPEN_STATUSES


@dataclass(frozen=True, slots=True)
class Position:
    """What is held of a symbol: signed quantity, never 0, and the average price that it was opened at."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal


def quantity_for(notional: Decimal, price: Decimal) -> Decimal:
    """What a notional pays for at `price`, rounded down to the venue's step of 1e-9."""
    return EXACT.divide(notional, price).quantize(QUANTITY_STEP, rounding=ROUND_DOWN, context=EXACT)


def plain(number: Decimal) -> str:
    """A number as Alpaca writes it: plain digits, no exponent, no trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
