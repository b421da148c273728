"""A desk on the simulated exchange: one decision a bar, orders that are placed once, bars that may not be used."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from live.exchange.server import Settings
from live.history import begin
from mlflow_ppo_flavor.decision.account import AccountState, mark
from mlflow_ppo_flavor.decision.action import Instrument, decide
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.decision.market import Costs
from mlflow_ppo_flavor.errors import BarsError, BrokerError
from mlflow_ppo_flavor.model.stages import bars_needed
from tests.live.meddled import MeddledExchange
from tests.live.trading import (
    AFTERNOON,
    CAPITAL,
    FIRST,
    MODEL,
    SPEC,
    SYMBOL,
    Floor,
    Registry,
    always,
    decided_bars,
    orders_of,
    outcome,
    reason,
)
from tests.training.markets import BUY_75, SELL_75, bars
from training.backtest import step_account

BARS = "GET /v2/stocks/bars"


def test_one_decision_a_bar_however_often_it_is_looked_at(buying: Floor) -> None:
    with buying.trader() as trader:
        assert outcome(trader) == "decided"
        assert [outcome(trader) for _ in range(3)] == ["idle"] * 3
        buying.exchange.advance(events=1)
        assert outcome(trader) == "idle"
        assert trader.desks[0].standing.state.quantity > 0
        buying.exchange.advance(bars=1)
        assert outcome(trader) == "decided"
        assert decided_bars(trader) == [FIRST, FIRST + 1]
        assert len(trader.rooms.journal.orders(SYMBOL)) == len(orders_of(buying)) == 2


def test_one_decision_a_bar_whichever_model_is_loaded(registry: Registry, buying: Floor) -> None:
    second = registry.log(always(SELL_75))
    with buying.trader() as trader:
        assert outcome(trader) == "decided"
        registry.promote(second)
        assert outcome(trader) == "idle"
        assert trader.model.version == second
        buying.exchange.advance(bars=1)
        assert outcome(trader) == "decided"
        assert [record.model_version for record in trader.rooms.journal.decisions(SYMBOL)] == [1, second]
    assert buying.told.count(f"{MODEL}/Production: version 1 → {second}") == 1


def hill() -> Bars:
    """The series with a hill in it: all prices of ten bars are half as high again."""
    frame, columns = bars().to_frame(), ["open", "high", "low", "close"]
    frame.loc[FIRST + 5 : FIRST + 14, columns] *= 1.5
    return Bars.from_frame(frame, symbol=SYMBOL, spec=SPEC.bars)


def followed(series: Bars, closes: int) -> AccountState:
    """The account that bought at the first bar and did nothing at the `closes` after it."""
    state = begin(series[: FIRST + 1], CAPITAL).state
    decision = decide(BUY_75, SPEC, state, Instrument.equity(SYMBOL), float(series.close[FIRST]))
    state = step_account(state, decision, series, FIRST, Costs()).state
    for close in series.close[FIRST + 2 : FIRST + closes + 1].tolist():
        state = mark(state, close)
    return state


@pytest.mark.parametrize("closes", [1, 5, 90])
def test_a_trader_that_was_dead_over_closes_follows_its_account_over_all_of_them(
    closes: int, buying: Floor, registry: Registry
) -> None:
    """90 bars are more than three times those that the model reads, and the account's peak is in none of those."""
    with MeddledExchange({SYMBOL: hill()}) as exchange:
        exchange.advance(bars=FIRST)
        floor = replace(buying, exchange=exchange)
        with floor.trader() as trader:
            trader.cycle()
        exchange.advance(bars=closes)
        with floor.trader() as trader:
            assert trader.desks[0].standing.state == followed(hill(), closes)
            assert outcome(trader) == "decided"
            assert decided_bars(trader) == [FIRST, FIRST + closes]


def test_a_late_bar_gets_no_decision(registry: Registry, tmp_path: Path) -> None:
    """It is 15:00 of the next day: the order was meant for 9:30."""
    registry.promote(registry.log(always(BUY_75)))
    now = int(bars().time[FIRST + 1]) + AFTERNOON
    with MeddledExchange({SYMBOL: bars()}, Settings(start=now)) as exchange:
        floor = Floor(exchange, tmp_path / "state")
        with floor.trader() as trader:
            expected = "2000-05-22T04:00:00Z was to be acted on 19800 s ago, expected at most 900 s: no decision on it"
            assert expected in reason(trader)
            assert outcome(trader) == "idle"
            assert [event.kind for event in trader.rooms.journal.events("bar_passed")] == ["bar_passed"]
            exchange.advance(bars=1)
            assert outcome(trader) == "decided"
            assert decided_bars(trader) == [FIRST + 1]
        assert len(orders_of(floor)) == 1


def change_last(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[int, Any], tuple[int, Any]]:
    """An answer whose newest bar is changed."""

    def changed(status: int, body: Any) -> tuple[int, Any]:
        told = body["bars"][SYMBOL]
        return status, {**body, "bars": {SYMBOL: [*told[:-1], change(told[-1])]}}

    return changed


BAD: tuple[tuple[Callable[[dict[str, Any]], dict[str, Any]], str], ...] = (
    (lambda bar: bar | {"c": None}, "close is None, expected a number"),
    (lambda bar: bar | {"c": math.nan}, "close is nan, expected a finite number"),
    (lambda bar: bar | {"o": 0}, "open is 0, expected a price"),
    (lambda bar: bar | {"h": bar["l"] / 2}, "is below max(open, close)"),
    (lambda bar: bar | {"v": -1}, "volume is -1, expected a volume"),
    (lambda bar: bar | {name: 50 * bar[name] for name in "ohlc"}, "spike: found a close of"),
    (lambda bar: bar | {"t": "yesterday"}, "time: found none that can be read, expected RFC 3339"),
)


def test_a_bad_bar_is_refused_with_a_reason_and_nothing_is_ordered(buying: Floor) -> None:
    with buying.trader() as trader:
        trader.cycle()
        for number, (change, expected) in enumerate(BAD, start=1):
            buying.exchange.advance(bars=1)
            before = orders_of(buying)
            buying.exchange.changes[BARS] = change_last(change)
            assert [outcome(trader) for _ in range(3)] == ["idle"] * 3
            events = trader.rooms.journal.events("bar_refused")
            assert len(events) == number
            assert expected in events[-1].reason
            assert len(orders_of(buying)) == len(before)
            buying.exchange.heal()
            assert outcome(trader) == "decided"
            assert decided_bars(trader) == list(range(FIRST, FIRST + number + 1))


def test_bars_that_come_twice_or_out_of_order_are_decided_on_once(buying: Floor) -> None:
    with buying.trader() as trader:
        buying.exchange.changes[BARS] = lambda status, body: (
            status,
            {**body, "bars": {SYMBOL: [*body["bars"][SYMBOL], *reversed(body["bars"][SYMBOL])]}},
        )
        for step in range(1, 4):
            assert outcome(trader) == "decided"
            assert outcome(trader) == "idle"
            assert decided_bars(trader) == list(range(FIRST, FIRST + step))
            buying.exchange.advance(bars=1)
        assert len(trader.desks[0].bars) == bars_needed(SPEC)


def test_bad_bars_in_the_history_are_told_too(buying: Floor) -> None:
    def spoil(status: int, body: Any) -> tuple[int, Any]:
        told = body["bars"][SYMBOL]
        return status, {**body, "bars": {SYMBOL: [told[0] | {"c": None}, *told[1:]]}} if len(told) > 20 else body

    buying.exchange.changes[BARS] = spoil
    with buying.trader() as trader:
        (event,) = trader.rooms.journal.events("bar_refused")
        assert event.reason == "close is None, expected a number"


def test_revised_bars_are_read_anew_and_the_account_is_marked_again(buying: Floor) -> None:
    """A dividend moves all adjusted prices."""

    def adjusted(status: int, body: Any) -> tuple[int, Any]:
        scaled = [bar | {name: bar[name] * 0.5 for name in "ohlc"} for bar in body["bars"][SYMBOL]]
        return status, {**body, "bars": {SYMBOL: scaled}}

    with buying.trader() as trader:
        trader.cycle()
        buying.exchange.advance(bars=1)
        trader.cycle()
        before = trader.desks[0]
        known = before.bars
        buying.exchange.changes[BARS] = adjusted
        assert outcome(trader) == "idle"
        desk = trader.desks[0]
        assert desk.bars.close.tolist() == [close * 0.5 for close in known.close.tolist()]
        assert desk.standing.state == mark(before.standing.state, float(known.close[-1]) * 0.5)


def test_positions_that_cannot_be_asked_for_are_not_flat(buying: Floor) -> None:
    with buying.trader() as trader:
        trader.cycle()
        buying.exchange.advance(bars=1)
        buying.exchange.fail("GET /v2/positions")
        assert [outcome(trader) for _ in range(4)] == ["waiting"] * 4
        assert len(orders_of(buying)) == 1
        told = [line for line in buying.told if line.startswith("waiting: ")]
        assert told == [f"waiting: {SYMBOL}: broker: GET /v2/positions: server: status 503: come back later"]
        buying.exchange.heal()
        assert outcome(trader) == "decided"


def test_positions_that_lag_behind_cost_no_decision(buying: Floor) -> None:
    with buying.trader() as trader:
        trader.cycle()
        buying.exchange.advance(bars=1)
        buying.exchange.changes["GET /v2/positions"] = lambda status, body: (status, [])
        assert [outcome(trader) for _ in range(2)] == ["mismatch"] * 2
        assert len(orders_of(buying)) == 1
        buying.exchange.heal()
        assert outcome(trader) == "decided"
        assert trader.rooms.journal.conduct().state == "ACTIVE"


def test_too_short_a_history_is_not_traded(registry: Registry, tmp_path: Path) -> None:
    registry.promote(registry.log(always(BUY_75)))
    with MeddledExchange({SYMBOL: bars()}) as exchange:
        exchange.advance(bars=22)
        floor = Floor(exchange, tmp_path / "state")
        with pytest.raises(BarsError, match="MEANREV: found 23 complete bars, expected 24"), floor.trader():
            pass
        exchange.advance(bars=1)
        with floor.trader() as trader:
            assert outcome(trader) == "decided"


def test_a_symbol_that_cannot_be_traded_is_told(buying: Floor) -> None:
    buying.exchange.mislead("GET /v2/assets/", tradable=False)
    expected = "asset: found MEANREV active, tradable false, expected an active asset that can be traded"
    with pytest.raises(BrokerError, match=expected), buying.trader():
        pass
