"""From an action to an order: what it means (the stored spec), how much of it the account may do, and why not."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from types import MappingProxyType
from typing import Any, SupportsIndex

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.interpretation import interpret_action
from mlflow_ppo_flavor.contract.spec import ModelSpec, Sizing
from mlflow_ppo_flavor.decision.account import ZERO, AccountState
from mlflow_ppo_flavor.decision.market import EXACT, MAX_PRICE, MIN_PRICE, check_price, read_decimal
from mlflow_ppo_flavor.errors import SpecError

ONE = Decimal(1)
SKIPS: Mapping[str, str] = MappingProxyType(
    {
        "no_equity": "the account's equity is 0 or less",
        "no_position": "a SELL without a long position, where a short may not be opened or increased",
        "max_position": "the position leaves no room below max_position of equity",
        "below_minimum": "the order is below the venue's minimum or the instrument's step",
    }
)
"""{reason: what it says} of every decision that wants to trade and doesn't. HOLD wants nothing: it has no reason."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a venue lets one trade: quantities in multiples of `step`, at least `min_quantity` and worth `min_notional`.

    `fractionable` says that parts of a share or coin trade; a short is in whole shares even so, which is why a step
    that isn't whole divides 1.
    """

    symbol: str
    step: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    shortable: bool
    fractionable: bool

    @classmethod
    def equity(cls, symbol: str, *, fractionable: bool = True, shortable: bool = True) -> Instrument:
        """A US equity: in steps of 1e-9 worth at least 1, or in whole shares."""
        step, worth = (Decimal("1e-9"), ONE) if fractionable else (ONE, ZERO)
        return cls(symbol, step, step, worth, shortable, fractionable)

    @classmethod
    def crypto(cls, symbol: str) -> Instrument:
        """A coin: in steps of 1e-9 worth at least 10, never short."""
        return cls(symbol, Decimal("1e-9"), Decimal("1e-9"), Decimal(10), shortable=False, fractionable=True)

    def to_dict(self) -> dict[str, Any]:
        """The instrument as JSON values, Decimals as strings."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {key: f"{values[key]:f}" for key in ("step", "min_quantity", "min_notional")}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Instrument:
        """Read an instrument; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [field.name for field in fields(cls)], where="instrument")
        instrument = cls(
            symbol=parsing.take(read, "symbol", path, parsing.text, empty=False),
            step=parsing.take(read, "step", path, read_decimal, low=Decimal("1e-18")),
            min_quantity=parsing.take(read, "min_quantity", path, read_decimal, low=ZERO),
            min_notional=parsing.take(read, "min_notional", path, read_decimal, low=ZERO),
            shortable=parsing.take(read, "shortable", path, parsing.flag),
            fractionable=parsing.take(read, "fractionable", path, parsing.flag),
        )
        is_whole = not EXACT.remainder(instrument.step, ONE)
        if not is_whole and (not instrument.fractionable or EXACT.remainder(ONE, instrument.step)):
            expected = "a part of 1 that divides it" if instrument.fractionable else "whole shares: parts don't trade"
            raise SpecError(parsing.join(path, "step"), f"{instrument.step:f}", expected)
        return instrument


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision at a bar's close: the action as the spec means it, the order that follows, or why there is none.

    `quantity` is signed (bought > 0) and 0 where nothing is ordered; `notional` its worth at `price`, never negative.
    `skipped` is a reason of SKIPS where the action wanted to trade; HOLD has quantity 0 and no reason. `equity` and
    `price` are what it was sized with.
    """

    action: int
    meaning: str
    direction: int
    size: float
    quantity: Decimal
    notional: float
    skipped: str | None
    equity: float
    price: float

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON values, the quantity as a string."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"quantity": f"{self.quantity:f}"}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Decision:
        """Read a decision; SpecError with its dotted path for anything else."""
        read = parsing.mapping(data, path, [field.name for field in fields(cls)], where="decision")
        decision = cls(
            action=parsing.take(read, "action", path, parsing.integer, low=0, high=10_000),
            meaning=parsing.take(read, "meaning", path, parsing.text, empty=False),
            direction=parsing.take(read, "direction", path, parsing.choice, of=(-1, 0, 1)),
            size=parsing.take(read, "size", path, parsing.number, low=0.0, high=1.0),
            quantity=parsing.take(read, "quantity", path, read_decimal),
            notional=parsing.take(read, "notional", path, parsing.number, low=0.0, high=1e30),
            skipped=parsing.take(read, "skipped", path, _reason),
            equity=parsing.take(read, "equity", path, parsing.number, low=-1e30, high=1e30),
            price=parsing.take(read, "price", path, parsing.number, low=MIN_PRICE, high=MAX_PRICE),
        )
        if decision.quantity and (decision.skipped is not None or decision.direction * decision.quantity <= 0):
            found = f"{decision.quantity:f} with direction {decision.direction}, skipped {decision.skipped}"
            raise SpecError(parsing.join(path, "quantity"), found, "a quantity in the direction, 0 where it is skipped")
        return decision


def decide(
    action: SupportsIndex, spec: ModelSpec, state: AccountState, instrument: Instrument, price: float
) -> Decision:
    """The decision of an action at a bar's close `price`, from the account's cash and position at that price.

    available = equity × (1 - safety_buffer); full step = available × base_allocation; the order's notional is
    size × full step, for SELL too. An increase is cut to the room below max_position × equity: max_position is at most
    1, so that a long never costs more than the cash. A reduction stops at 0, and takes along a remainder that the venue
    wouldn't sell alone. All this at the close: the fill at the next open, with its gap and costs, may take cash below 0
    where a sizing keeps no buffer. ActionError for an action outside the spec, BarsError for what isn't a price.
    """
    direction, size, meaning = interpret_action(action, spec)
    close = check_price(price, "price of a decision")
    equity = state.equity_at(close)
    quantity, skipped = _order(direction, size, spec.sizing, state, instrument, equity, close)
    notional = abs(float(quantity)) * close
    return Decision(operator.index(action), meaning, direction, size, quantity, notional, skipped, equity, close)


def _order(
    direction: int,
    size: float,
    sizing: Sizing,
    state: AccountState,
    instrument: Instrument,
    equity: float,
    price: float,
) -> tuple[Decimal, str | None]:
    """(signed quantity, None) or (0, why not); everything is counted in whole steps."""
    if direction == 0:
        return ZERO, None
    if equity <= 0.0:
        return ZERO, "no_equity"
    held = state.quantity if direction > 0 else state.quantity.copy_negate()
    if direction < 0 <= held and not (sizing.allow_short and instrument.shortable):
        return ZERO, "no_position"
    is_short = state.quantity < 0 or (direction < 0 and not held)
    step = max(instrument.step, ONE) if is_short else instrument.step
    least = _least_steps(instrument, step, price)
    full_step = equity * (1.0 - sizing.safety_buffer) * sizing.base_allocation
    steps = _whole_steps(size * full_step, price, step)
    if steps < least:
        return ZERO, "below_minimum"
    if held < 0:
        steps, limit = _reduced(steps, least, _whole_steps(ZERO, price, step, held)), "below_minimum"
    else:
        steps, limit = min(steps, _whole_steps(sizing.max_position * equity, price, step, held)), "max_position"
    return (ZERO, limit) if steps < least else (EXACT.multiply(step, Decimal(direction * steps)), None)


def _reduced(steps: int, least: int, closable: int) -> int:
    """Steps of a reduction: never through 0, and all of it where the venue wouldn't take the rest alone."""
    return closable if closable - steps < least else steps


def _least_steps(instrument: Instrument, step: Decimal, price: float) -> int:
    """The fewest steps that the venue takes: at least one, min_quantity and min_notional."""
    by_worth = -_whole_steps(instrument.min_notional.copy_negate(), price, step)
    return max(1, by_worth, -_whole_steps(instrument.min_quantity.copy_negate(), 1.0, step))


def _whole_steps(money: float | Decimal, price: float, step: Decimal, held: Decimal = ZERO) -> int:
    """floor((money / price - held) / step), exact: a rounding error would be an order of one step too much."""
    worth, worth_part = money.as_integer_ratio()
    each, each_part = price.as_integer_ratio()
    unit, unit_part = step.as_integer_ratio()
    has, has_part = held.as_integer_ratio()
    room = worth * each_part * has_part - has * worth_part * each
    return room * unit_part // (worth_part * each * has_part * unit)


def _reason(value: object, path: str) -> str | None:
    """None, or a reason of SKIPS."""
    return None if value is None else str(parsing.choice(value, path, of=SKIPS))
