"""The oracle of account and sizing: all recomputed from the whole history, in fractions, as slowly as it reads."""

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from mlflow_ppo_flavor.contract.spec import Sizing
from mlflow_ppo_flavor.decision.action import Instrument
from mlflow_ppo_flavor.decision.market import Fill


def written(number: float | Decimal) -> Fraction:
    """The number as it is written down: 0.1 is a tenth."""
    return Fraction(str(number))


@dataclass
class Ledger:
    """Everything that happened: (signed quantity, price, fee) of each fill, equity and exposure at each mark."""

    initial: float
    fills: list[tuple[Fraction, Fraction, Fraction]] = field(default_factory=list)
    marks: list[Fraction] = field(default_factory=list)
    exposures: list[Fraction] = field(default_factory=list)
    last_price: Fraction = Fraction(0)

    def enter(self, event: Fill | float) -> None:
        """Note a fill, or a mark at a price."""
        if isinstance(event, Fill):
            self.fills.append((written(event.quantity), written(event.price), written(event.fee)))
            self.last_price = self.fills[-1][1]
        else:
            self.last_price = written(event)
            self.marks.append(self.equity)
            self.exposures.append(abs(self.quantity) * self.last_price)

    @property
    def quantity(self) -> Fraction:
        """What is held: the sum of all that was ever bought and sold."""
        return sum((quantity for quantity, _, _ in self.fills), Fraction(0))

    @property
    def cash(self) -> Fraction:
        """The initial equity less all that was ever paid."""
        return written(self.initial) - sum(quantity * price + fee for quantity, price, fee in self.fills)

    @property
    def equity(self) -> Fraction:
        """Cash and what is held at the last price."""
        return self.cash + self.quantity * self.last_price

    @property
    def peak(self) -> Fraction:
        """The highest equity at a mark, the initial one included."""
        return max([written(self.initial), *self.marks])

    @property
    def turnover(self) -> Fraction:
        """All money that ever moved or stood at risk: what rounding errors are measured against."""
        moved = sum(abs(quantity) * price + abs(fee) for quantity, price, fee in self.fills)
        return written(self.initial) + moved + abs(self.quantity) * self.last_price + max(self.exposures, default=0)

    def trades(self) -> tuple[list[Fraction], Fraction]:
        """(P&L of each closed trade, cash flow of the open one): unit by unit a fill first closes, then opens."""
        closed: list[Fraction] = []
        held, flow = Fraction(0), Fraction(0)
        for quantity, price, fee in self.fills:
            against = held * quantity < 0
            closing = (quantity if abs(quantity) <= abs(held) else -held) if against else Fraction(0)
            for part in (closing, quantity - closing):
                if part:
                    held, flow = held + part, flow - part * price - fee * part / quantity
                    if held == 0:
                        closed.append(flow)
                        flow = Fraction(0)
        return closed, flow


def order(
    direction: int,
    size: float,
    sizing: Sizing,
    cash: Fraction,
    held: Fraction,
    instrument: Instrument,
    price: float,
    off: Fraction = Fraction(0),
) -> tuple[Fraction, str | None]:
    """(signed quantity, why not) by the rules of sizing, all amounts of money off by the share `off`."""
    at, most = Fraction(price), 1 + off
    equity = cash + held * at
    if direction == 0:
        return Fraction(0), None
    if equity <= 0:
        return Fraction(0), "no_equity"
    may_short = sizing.allow_short and instrument.shortable
    if direction == -1 and held <= 0 and not may_short:
        return Fraction(0), "no_position"
    short = held < 0 or (held == 0 and direction == -1)
    step = max(Fraction(1), Fraction(instrument.step)) if short else Fraction(instrument.step)
    minimum = max(step, Fraction(instrument.min_quantity), Fraction(instrument.min_notional) / at)
    minimum = ceil(minimum / step) * step

    def down(quantity: Fraction) -> Fraction:
        return floor(quantity / step) * step

    full_step = equity * (1 - Fraction(sizing.safety_buffer)) * Fraction(sizing.base_allocation)
    quantity = down(Fraction(size) * full_step * most / at)
    if quantity < minimum:
        return Fraction(0), "below_minimum"
    if held * direction < 0:
        quantity = min(quantity, down(abs(held)))
        if down(abs(held)) - quantity < minimum:
            quantity = down(abs(held))
        return (direction * quantity, None) if quantity >= minimum else (Fraction(0), "below_minimum")
    rooms = [(down(Fraction(sizing.max_position) * equity * most / at - abs(held)), "max_position")]
    rooms += [] if short else [(down(cash * most / at), "no_cash")]
    room, reason = min(rooms)
    quantity = min(quantity, room)
    return (direction * quantity, None) if quantity >= minimum else (Fraction(0), reason)
