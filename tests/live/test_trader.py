"""The trader as a whole: start and reconciliation, other positions at the broker, limits, halts, several symbols."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from live.exchange.order import plain
from live.risk import RiskLimits
from live.trader import LiveTrader
from mlflow_ppo_flavor.decision.bars import Bars
from mlflow_ppo_flavor.errors import BrokerError, NotTrading
from tests.live.exchange.venues import trading_client
from tests.live.meddled import MeddledExchange
from tests.live.trading import (
    CAPITAL,
    FIRST,
    MANDATE,
    MODEL,
    SYMBOL,
    Floor,
    Registry,
    always,
    decided_bars,
    orders_of,
    outcome,
    reason,
)
from tests.training.markets import BUY_75, HOLD, bars

KILL = "kill_switch: the file KILL is in the state directory: remove it to go on"


def trade_elsewhere(floor: Floor, quantity: float) -> None:
    """Somebody else orders on the account, which fills at the next open."""
    side = OrderSide.BUY if quantity > 0 else OrderSide.SELL
    order = MarketOrderRequest(symbol=SYMBOL, qty=abs(quantity), side=side, time_in_force=TimeInForce.DAY)
    trading_client(floor.exchange.url).submit_order(order)


def held(floor: Floor, symbol: str = SYMBOL) -> Decimal:
    """The position at the venue."""
    return floor.exchange.exchange.book.held(symbol)


def position(trader: LiveTrader) -> Decimal:
    """The position as the trader knows it."""
    return trader.desks[0].standing.state.quantity


def test_it_tells_what_it_loaded_and_begins_with_its_capital(buying: Floor) -> None:
    with buying.trader() as trader:
        assert buying.told == [f"{MODEL}/Production version 1: verified, spec 2.7.0, 80 golden decisions reproduced"]
        assert trader.equity == CAPITAL
        assert (trader.model.version, position(trader)) == (1, 0)


def test_without_capital_given_the_accounts_equity_is_split_evenly(buying: Floor) -> None:
    with buying.trader(capital=None) as trader:
        assert trader.equity == 100_000.0


def test_soft_findings_are_told_at_the_start(registry: Registry, floor: Floor) -> None:
    registry.promote(registry.log(always(HOLD)))
    floor.terms = replace(floor.terms, symbols=("OTHER",))
    with floor.trader():
        assert floor.told[1] == (
            "[warning] symbols: found OTHER, the model was trained on MEANREV: check that this is wanted"
        )


def test_nothing_is_traded_where_no_version_stands(registry: Registry, floor: Floor) -> None:
    registry.log(always(BUY_75))
    expected = f"^{MODEL}/Production: no version stands there: promote one, then start again$"
    with pytest.raises(NotTrading, match=expected), floor.trader():
        pass


def test_nothing_is_traded_with_a_model_that_is_refused(buying: Floor) -> None:
    buying.terms = replace(buying.terms, timeframe="1Min")
    expected = f"^{MODEL}/Production version 1: refused, 1 finding.*\n.*bars.timeframe: found 1Min, the model was"
    with pytest.raises(NotTrading, match=expected), buying.trader():
        pass
    assert orders_of(buying) == ()


def test_nothing_is_traded_where_the_venue_cannot_be_asked_at_the_start(buying: Floor) -> None:
    for asked in ("GET /v2/clock", "GET /v2/account", "GET /v2/positions", "GET /v2/stocks/bars"):
        buying.exchange.fail(asked)
        with pytest.raises(BrokerError, match=f"{asked}: server: status 503: come back later"), buying.trader():
            pass
        buying.exchange.heal()
    assert orders_of(buying) == ()


def test_nothing_is_traded_while_it_is_not_known_what_became_of_earlier_orders(buying: Floor) -> None:
    with buying.trader() as trader:
        trader.cycle()
    buying.exchange.advance(bars=1)
    buying.exchange.fail("GET /v2/orders:by_client_order_id")
    expected = "status 503: come back later: what was ordered before isn't known: start again a little later$"
    with pytest.raises(NotTrading, match=expected), buying.trader():
        pass
    buying.exchange.heal()
    with buying.trader() as trader:
        assert position(trader) == held(buying) > 0


def test_a_position_that_the_journal_does_not_know_is_not_traded_on(buying: Floor) -> None:
    trade_elsewhere(buying, 3)
    buying.exchange.advance(bars=1)
    expected = (
        "^MEANREV: found a position of 3 at the broker, the journal knows of 0: "
        "give --adopt-position to take the broker's, or clear it up there$"
    )
    with pytest.raises(NotTrading, match=expected), buying.trader():
        pass
    with buying.trader(adopt=True) as trader:
        state = trader.desks[0].standing.state
        assert (state.quantity, state.equity, state.trades) == (3, CAPITAL, 0)
        assert buying.told[-1] == (
            "MEANREV: found a position of 3 at the broker, the journal knows of 0: adopted the broker's"
        )
        assert outcome(trader) == "decided"
    with buying.trader() as trader:
        assert position(trader) == 3


def test_somebody_else_on_the_account_halts_the_trader(buying: Floor) -> None:
    with buying.trader() as trader:
        trader.cycle()
        trade_elsewhere(buying, 2)
        buying.exchange.advance(bars=1)
        assert [outcome(trader) for _ in range(3)] == ["mismatch"] * 3
        differs = f"found a position of {plain(held(buying))} at the broker, the journal knows of {position(trader):f}"
        remedy = "somebody else traded it, or it was changed there: clear it up, then give --resume"
        halted = f"mismatch: MEANREV: {differs}: {remedy}"
        assert trader.rooms.journal.conduct().reason == halted
        assert buying.told[-1] == f"ACTIVE → HALTED: {halted}"
        trade_elsewhere(buying, -2)
        buying.exchange.advance(bars=1)
        assert halted in reason(trader)
        assert decided_bars(trader) == [FIRST]


def test_somebody_elses_trade_is_adopted_where_that_is_wanted(buying: Floor) -> None:
    with buying.trader(adopt=True) as trader:
        trader.cycle()
        trade_elsewhere(buying, 2)
        buying.exchange.advance(bars=1)
        assert [outcome(trader) for _ in range(4)] == ["mismatch", "mismatch", "mismatch", "decided"]
        assert position(trader) == held(buying) > 2
        assert trader.rooms.journal.conduct().state == "ACTIVE"


def test_the_kill_switch_stops_all_orders_until_it_is_removed(buying: Floor) -> None:
    with buying.trader() as trader:
        trader.cycle()
        (buying.state_dir / "KILL").touch()
        for _ in range(3):
            buying.exchange.advance(bars=1)
            assert f"not allowed: {KILL}" in reason(trader)
            assert outcome(trader) == "idle"
        assert len(orders_of(buying)) == 1
        (buying.state_dir / "KILL").unlink()
        buying.exchange.advance(bars=1)
        assert outcome(trader) == "decided"
    told = [line for line in buying.told if line.startswith(f"{SYMBOL}: ")]
    assert told == [f"{SYMBOL}: {KILL}", f"{SYMBOL}: all is allowed again"]


def test_a_blocked_account_is_asked_nothing(buying: Floor) -> None:
    with buying.trader() as trader:
        buying.exchange.mislead("GET /v2/account", trading_blocked=True)
        for _ in range(3):
            assert "not allowed: account_blocked: trading_blocked" in reason(trader)
            buying.exchange.advance(bars=1)
        assert orders_of(buying) == ()
        buying.exchange.heal()
        assert outcome(trader) == "decided"


def crash(series: Bars, row: int) -> Bars:
    """The series with a fall by 60 % in the open of bar `row`, and everything after it at that level."""
    frame = series.to_frame()
    columns = ["open", "high", "low", "close"]
    frame.loc[row:, columns] = frame.loc[row:, columns] * 0.4
    return Bars.from_frame(frame, symbol=series.symbol, spec=series.spec)


@pytest.fixture
def crashing(registry: Registry, tmp_path: Path) -> Iterator[Floor]:
    """A floor where the policy buys, and prices fall by 60 % at the fourth bar."""
    registry.promote(registry.log(always(BUY_75)))
    with MeddledExchange({SYMBOL: crash(bars(), FIRST + 3)}) as exchange:
        exchange.advance(bars=FIRST)
        yield Floor(exchange, tmp_path / "state", mandate=replace(MANDATE, limits=RiskLimits(max_daily_loss=0.05)))


def to_the_crash(floor: Floor, trader: LiveTrader) -> None:
    for _ in range(3):
        assert outcome(trader) == "decided"
        floor.exchange.advance(bars=1)


def test_a_daily_loss_beyond_the_limit_sells_everything_and_halts_for_good(crashing: Floor) -> None:
    with crashing.trader() as trader:
        to_the_crash(crashing, trader)
        before = position(trader)
        assert before > 0
        assert outcome(trader) == "exiting"
        conduct = trader.rooms.journal.conduct()
        assert (conduct.state, conduct.reason[:12]) == ("HALTED", "daily_loss: ")
        assert conduct.reason.endswith(" lost today, the limit is 5.00%")
    crashing.exchange.advance(bars=1)
    with crashing.trader() as trader:
        assert f"HALTED since {conduct.since}: {conduct.reason}: give --resume to trade again" in crashing.told
        assert held(crashing) == position(trader) == 0
        for _ in range(3):
            assert f"{conduct.reason}; there is no position" in reason(trader)
            crashing.exchange.advance(bars=1)
        assert decided_bars(trader) == [FIRST, FIRST + 1, FIRST + 2]
        # what --resume does
        trader.rooms.journal.set_conduct("ACTIVE", "resumed by the operator")
        assert outcome(trader) == "decided"


def test_a_loss_while_nobody_looked_is_sold_at_the_restart(crashing: Floor) -> None:
    with crashing.trader() as trader:
        to_the_crash(crashing, trader)
    with crashing.trader() as trader:
        assert outcome(trader) == "exiting"
        assert trader.rooms.journal.conduct().state == "HALTED"


def test_an_exit_that_was_refused_is_tried_again_at_the_next_bar(crashing: Floor) -> None:
    with crashing.trader() as trader:
        to_the_crash(crashing, trader)
        crashing.exchange.refuse("POST /v2/orders", 403, code=40310000, message="new orders are rejected by us")
        assert "order of" in (told := reason(trader))
        assert " rejected: " in told
        assert outcome(trader) == "idle"
    crashing.exchange.heal()
    crashing.exchange.advance(bars=1)
    with crashing.trader() as trader:
        assert outcome(trader) == "exiting"
        crashing.exchange.advance(bars=1)
        trader.cycle()
        assert held(crashing) == position(trader) == 0


def test_a_loss_within_the_limit_changes_nothing(crashing: Floor) -> None:
    with crashing.trader(limits=RiskLimits(max_daily_loss=0.5)) as trader:
        to_the_crash(crashing, trader)
        assert outcome(trader) == "decided"
        assert trader.rooms.journal.conduct().state == "ACTIVE"


def two_symbols() -> dict[str, Bars]:
    """MEANREV, and OTHER with the same bars, which ends at bar 105."""
    other = Bars("OTHER", bars().spec, *bars()[:106].columns)
    return {SYMBOL: bars(), "OTHER": other}


def test_several_symbols_are_traded_each_with_its_own_account(registry: Registry, tmp_path: Path) -> None:
    registry.promote(registry.log(always(BUY_75)))
    with MeddledExchange(two_symbols()) as exchange:
        exchange.advance(bars=FIRST)
        floor = Floor(exchange, tmp_path / "state", mandate=replace(MANDATE, symbols=(SYMBOL, "OTHER"), capital=None))
        with floor.trader() as trader:
            assert [turn.outcome for turn in trader.cycle()] == ["decided"] * 2
            exchange.advance(bars=1)
            assert [turn.outcome for turn in trader.cycle()] == ["decided"] * 2
            first, second = (desk.standing.state for desk in trader.desks)
            assert first == second
            assert (first.initial_equity, first.quantity > 0) == (50_000.0, True)
            assert held(floor) == held(floor, "OTHER") == first.quantity


def test_a_days_orders_are_limited_over_all_symbols(registry: Registry, tmp_path: Path) -> None:
    registry.promote(registry.log(always(BUY_75)))
    with MeddledExchange(two_symbols()) as exchange:
        exchange.advance(bars=FIRST)
        limits = RiskLimits(max_orders_per_day=1)
        floor = Floor(exchange, tmp_path / "state", mandate=replace(MANDATE, symbols=(SYMBOL, "OTHER"), limits=limits))
        with floor.trader() as trader:
            reached = "order_limit: 1 orders today, the limit is 1"
            assert [turn.reason.endswith(f"BUY_75%: {reached}") for turn in trader.cycle()] == [False, True]
            (record,) = trader.rooms.journal.decisions("OTHER")
            assert (record.decision.quantity > 0, record.note) == (True, reached)
            exchange.advance(bars=1)
            trader.cycle()
            assert [order.request.symbol for order in orders_of(floor)] == [SYMBOL, SYMBOL]


def test_bars_that_stay_away_are_told_and_the_other_symbol_goes_on(registry: Registry, tmp_path: Path) -> None:
    registry.promote(registry.log(always(HOLD)))
    with MeddledExchange(two_symbols()) as exchange:
        exchange.advance(bars=FIRST + 3)
        floor = Floor(exchange, tmp_path / "state", mandate=replace(MANDATE, symbols=(SYMBOL, "OTHER")))
        with floor.trader() as trader:
            outcomes = []
            for _ in range(5):
                outcomes.append(tuple(turn.outcome for turn in trader.cycle()))
                exchange.advance(bars=1)
    assert outcomes == [("decided", "decided")] * 3 + [("decided", "idle")] * 2
    stale = [line for line in floor.told if "stale_data" in line]
    assert len(stale) == 1
    assert stale[0].startswith("OTHER: stale_data: the newest bar is ")


def test_a_venue_that_is_away_is_told_once_and_costs_nothing_else(buying: Floor) -> None:
    with buying.trader() as trader:
        buying.exchange.fail("GET /v2/clock")
        assert [outcome(trader) for _ in range(5)] == ["waiting"] * 5
        buying.exchange.heal()
        assert outcome(trader) == "decided"
    told = [line for line in buying.told if line.startswith("waiting: ")]
    assert told == ["waiting: MEANREV: broker: GET /v2/clock: server: status 503: come back later"]


def test_days_are_those_of_the_exchange(buying: Floor) -> None:
    """A day's first equity is what was there before its first bar was taken in."""
    with buying.trader() as trader:
        equities = []
        for _ in range(4):
            equities.append(trader.equity)
            trader.cycle()
            buying.exchange.advance(bars=1)
        starts = pd.to_datetime(np.array(bars().time[FIRST : FIRST + 4]), utc=True).tz_convert("America/New_York")
        assert [trader.rooms.journal.day_start(day) for day in starts.date] == equities
