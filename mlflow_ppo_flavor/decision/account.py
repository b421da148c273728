"""The (trader, symbol) sub-account: the only place where P&L, trades, wins and the peak are computed.

It is marked at each bar's close and filled in between, so that whoever replays the same bars and fills has the same
state, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Context, Decimal
from typing import Any

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.decision.market import EXACT, MAX_MONEY, MAX_PRICE, Fill, check_price, read_decimal
from mlflow_ppo_flavor.errors import SpecError

ZERO = Decimal(0)
_MIN_EQUITY = 1e-6
_MAX_COUNT = 2**53
_MAX_FLOW = Decimal(10) ** 30
_FLOW_DECIMALS = 500
# a share of a fee may never end; fewer digits than EXACT has, so that sums of shares stay exact
_SHARE = Context(prec=100)


@dataclass(frozen=True, slots=True)
class AccountState:
    """One sub-account at one moment. Money in the account's currency; `quantity` signed.

    `price` is the last one known: of the last mark or fill, 0 before the first. `peak` is the highest equity at a
    mark, the initial equity included. A trade runs from position 0 to the return to 0; `trade_flow` is the cash that
    the open one has brought so far, fees included: exact, so that a trade that comes out even isn't won by a rounding
    error.
    """

    initial_equity: float
    cash: float
    quantity: Decimal
    price: float
    peak: float
    wins: int
    trades: int
    trade_flow: Decimal

    @classmethod
    def start(cls, equity: float) -> AccountState:
        """A flat account with `equity` in cash; SpecError unless it is in [1e-6, 1e15]."""
        money = parsing.number(float(equity), "initial_equity", low=_MIN_EQUITY, high=MAX_MONEY)
        return cls(money, money, ZERO, 0.0, money, 0, 0, ZERO)

    def value_at(self, price: float) -> float:
        """Signed value of the position at `price`."""
        return float(self.quantity) * price

    def equity_at(self, price: float) -> float:
        """Cash plus the position's value at `price`; at most 0 when the account is ruined."""
        return self.cash + float(self.quantity) * price

    @property
    def position_value(self) -> float:
        """Signed value of the position at the last price."""
        return self.value_at(self.price)

    @property
    def equity(self) -> float:
        """Cash plus the position's value at the last price."""
        return self.equity_at(self.price)

    @property
    def total_pnl(self) -> float:
        """Profit or loss since the start, in money, costs included."""
        return self.equity - self.initial_equity

    @property
    def trade_pnl(self) -> float:
        """Profit or loss of the open trade at the last price, in money, costs so far included; 0 when flat."""
        return float(self.trade_flow) + self.position_value

    @property
    def win_rate(self) -> float:
        """Share of the closed trades that made money after costs; 0.5 before the first."""
        return self.wins / self.trades if self.trades else 0.5

    @property
    def drawdown(self) -> float:
        """Loss since the peak as a share of the peak, in [0, 1]; 1 when nothing is left or less."""
        return min(max((self.peak - self.equity) / self.peak, 0.0), 1.0)

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON values, Decimals as strings; `from_dict` reads it back equal."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"quantity": f"{self.quantity:f}", "trade_flow": f"{self.trade_flow:f}"}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> AccountState:
        """Read a state; SpecError with its dotted path for anything else, or where two fields contradict each other."""
        read = parsing.mapping(data, path, [field.name for field in fields(cls)], where="account")
        state = cls(
            initial_equity=parsing.take(read, "initial_equity", path, parsing.number, low=_MIN_EQUITY, high=MAX_MONEY),
            cash=parsing.take(read, "cash", path, parsing.number, low=-1e30, high=1e30),
            quantity=parsing.take(read, "quantity", path, read_decimal),
            price=parsing.take(read, "price", path, parsing.number, low=0.0, high=MAX_PRICE),
            peak=parsing.take(read, "peak", path, parsing.number, low=_MIN_EQUITY, high=1e30),
            wins=parsing.take(read, "wins", path, parsing.integer, low=0, high=_MAX_COUNT),
            trades=parsing.take(read, "trades", path, parsing.integer, low=0, high=_MAX_COUNT),
            trade_flow=parsing.take(read, "trade_flow", path, _read_flow),
        )
        _check_sense(state, path)
        return state


def mark(state: AccountState, price: float) -> AccountState:
    """The account at a bar's close: its price, and its peak if equity is higher than ever.

    BarsError for what isn't a price.
    """
    close = check_price(price, "price of a mark")
    peak = max(state.peak, state.equity_at(close))
    return AccountState(
        state.initial_equity, state.cash, state.quantity, close, peak, state.wins, state.trades, state.trade_flow
    )


def apply_fill(state: AccountState, fill: Fill) -> AccountState:
    """The account after a fill: cash, position and, where the position returns to 0, one more closed trade.

    A fill through zero closes one trade and opens another, its fee split by quantity. The peak is left to the next
    mark: when in a bar a fill came can't change what the policy sees.
    """
    before, after = state.quantity, EXACT.add(state.quantity, fill.quantity)
    flow, fee = state.trade_flow, _exact(fill.fee)
    wins, trades = state.wins, state.trades
    opening = fill.quantity
    if before and (not after or (before > 0) != (after > 0)):
        closing_fee = _SHARE.divide(EXACT.multiply(fee, before.copy_abs()), fill.quantity.copy_abs())
        closed = EXACT.add(flow, _flow(before.copy_negate(), fill.price, closing_fee))
        wins, trades = wins + (closed > 0), trades + 1
        flow, fee, opening = ZERO, EXACT.subtract(fee, closing_fee), after
    flow = EXACT.add(flow, _flow(opening, fill.price, fee)) if after else ZERO
    cash = state.cash - float(fill.quantity) * fill.price - fill.fee
    return AccountState(state.initial_equity, cash, after, fill.price, state.peak, wins, trades, flow)


def _exact(number: float) -> Decimal:
    """The decimal number that a float was written as: 0.1 is 0.1 and not 0.1000000000000000055."""
    return Decimal(float.__repr__(number))


def _flow(quantity: Decimal, price: float, fee: Decimal) -> Decimal:
    """Cash that a quantity brings: negative when bought."""
    return EXACT.subtract(EXACT.multiply(quantity.copy_negate(), _exact(price)), fee)


def _read_flow(value: object, path: str) -> Decimal:
    """A trade's cash flow: it has as many decimals as the smallest of its fees."""
    return read_decimal(value, path, low=-_MAX_FLOW, high=_MAX_FLOW, decimals=_FLOW_DECIMALS)


def _check_sense(state: AccountState, path: str) -> None:
    """Refuse a state that no history of fills leads to."""
    if state.wins > state.trades:
        raise SpecError(parsing.join(path, "wins"), state.wins, f"at most the {state.trades} closed trades")
    if state.peak < state.initial_equity:
        raise SpecError(parsing.join(path, "peak"), state.peak, f"at least the initial equity {state.initial_equity}")
    if state.quantity and not state.price:
        raise SpecError(parsing.join(path, "price"), state.price, "a price above 0 where there is a position")
    if state.trade_flow and not state.quantity:
        raise SpecError(parsing.join(path, "trade_flow"), f"{state.trade_flow:f}", "0 where there is no position")
