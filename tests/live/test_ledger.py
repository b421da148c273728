"""Orders on the simulated exchange: written down before they are sent, placed once, cancelled when it ends."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from live.desk import Rooms
from live.exchange.server import Settings
from live.journal import Journal
from live.orders import Orders
from live.ticket import OrderReport, Ticket
from tests.live.exchange.venues import trading_client
from tests.live.faulty import Fault, faulty_line
from tests.live.meddled import MeddledExchange
from tests.live.trading import AFTERNOON, FIRST, SYMBOL, TRADER, Floor, decided_bars, orders_of, outcome, reason
from tests.training.markets import bars


class Died(BaseException):
    """The process is gone."""


class StillbornOrders(Orders):
    """Orders of a process that dies before it sends one."""

    def place(self, ticket: Ticket) -> OrderReport:
        """Die."""
        raise Died


class WitnessedOrders(Orders):
    """Orders that look, before they send one, whether another process would find it and its decision on disk."""

    seen: bool | None = None
    state_dir: Path

    def place(self, ticket: Ticket) -> OrderReport:
        """Look into a copy of the state directory as it is on disk now, then send."""
        copy = self.state_dir.with_name("witnessed")
        shutil.copytree(self.state_dir, copy)
        with Journal.open(copy, TRADER) as journal:
            found = journal.order(ticket.client_order_id) == ticket and journal.report(ticket.client_order_id) is None
            self.seen = found and journal.decided(ticket.symbol, ticket.bar_time)
        return super().place(ticket)


def stillborn(rooms: Rooms) -> Rooms:
    return replace(rooms, orders=StillbornOrders(rooms.broker))


def die_unsent(floor: Floor) -> None:
    """A trader decides and dies between journal and venue."""
    with floor.trader(stillborn) as trader, pytest.raises(Died):
        trader.cycle()
    assert orders_of(floor) == ()


def test_an_order_and_its_decision_are_on_disk_before_it_is_sent(buying: Floor) -> None:
    orders: list[WitnessedOrders] = []

    def witnessed(rooms: Rooms) -> Rooms:
        orders.append(WitnessedOrders(rooms.broker))
        orders[0].state_dir = buying.state_dir
        return replace(rooms, orders=orders[0])

    with buying.trader(witnessed) as trader:
        assert outcome(trader) == "decided"
    assert orders[0].seen is True
    assert len(orders_of(buying)) == 1


def test_an_order_that_never_left_is_sent_by_the_next_process_under_the_same_id(buying: Floor) -> None:
    die_unsent(buying)
    with buying.trader() as trader:
        assert "BUY_75%, sent again: order of " in reason(trader)
        assert outcome(trader) == "idle"
        (ticket,) = trader.rooms.journal.orders(SYMBOL)
        assert [order.client_order_id for order in orders_of(buying)] == [ticket.client_order_id]
        assert decided_bars(trader) == [FIRST]


def test_an_order_that_never_left_is_not_sent_where_orders_are_stopped(buying: Floor) -> None:
    die_unsent(buying)
    (buying.state_dir / "KILL").touch()
    with buying.trader() as trader:
        expected = "the order BUY_75% never left and isn't sent again: kill_switch: the file KILL is in the state"
        assert expected in reason(trader)
        (buying.state_dir / "KILL").unlink()
        assert outcome(trader) == "idle"
        buying.exchange.advance(bars=1)
        assert outcome(trader) == "decided"
        assert decided_bars(trader) == [FIRST, FIRST + 1]
    assert len(orders_of(buying)) == 1


def test_an_order_that_never_left_is_not_sent_late(buying: Floor) -> None:
    die_unsent(buying)
    now = int(bars().time[FIRST + 1]) + AFTERNOON
    with MeddledExchange({SYMBOL: bars()}, Settings(start=now)) as later:
        buying.exchange = later
        with buying.trader() as trader:
            assert "the order BUY_75% never left and isn't sent again: the bar of" in reason(trader)
        assert orders_of(buying) == ()


def test_an_order_that_never_left_is_over_with_its_bar(buying: Floor) -> None:
    die_unsent(buying)
    buying.exchange.advance(bars=1)
    with buying.trader() as trader:
        assert outcome(trader) == "decided"
        first, second = trader.rooms.journal.orders(SYMBOL)
        assert trader.rooms.journal.report(first.client_order_id).status == "absent"
        assert [order.client_order_id for order in orders_of(buying)] == [second.client_order_id]


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.GATEWAY, Fault.LOST])
def test_an_order_whose_answer_is_lost_is_placed_once(fault: Fault, buying: Floor) -> None:
    with faulty_line(buying.exchange.url) as line:
        buying.url = line.url
        line.posts.append(fault)
        with buying.trader() as trader:
            assert outcome(trader) == "decided"
            assert outcome(trader) == "idle"
        assert len(orders_of(buying)) == 1


def test_an_order_that_stays_unknown_is_looked_for_at_the_next_look(buying: Floor) -> None:
    with faulty_line(buying.exchange.url) as line:
        buying.url = line.url
        line.posts.extend([Fault.LOST] * 3)
        with buying.trader() as trader:
            assert "BUY_75%: order of" in (told := reason(trader))
            assert " unknown: broker: POST /v2/orders: " in told
            assert orders_of(buying) == ()
            assert "sent again: order of" in reason(trader)
        assert len(orders_of(buying)) == 1


def test_a_refused_order_leaves_no_position_and_the_next_bar_decides_anew(buying: Floor) -> None:
    with buying.trader(capital=10_000_000.0) as trader:
        assert "order of" in (told := reason(trader))
        assert (
            " rejected: broker: POST /v2/orders: buying_power: status 403, code 40310000: insufficient buying" in told
        )
        assert outcome(trader) == "idle"
        buying.exchange.advance(bars=1)
        assert outcome(trader) == "decided"
        assert trader.desks[0].standing.state.quantity == 0
    assert orders_of(buying) == ()


def test_there_is_never_a_second_order_while_one_is_open(buying: Floor) -> None:
    with buying.trader() as trader:
        trader.cycle()
        buying.exchange.advance(bars=1)
        stuck = {"status": "accepted", "filled_qty": "0", "filled_avg_price": None, "filled_at": None}
        buying.exchange.mislead("GET /v2/orders:by_client_order_id", **stuck)
        told = [reason(trader) for _ in range(4)]
        assert all(": still accepted after its bar, expected it to be over" in line for line in told)
        assert sum(asked.startswith("DELETE /v2/orders/") for asked in buying.exchange.asked) == 4
        assert len(orders_of(buying)) == 1
        buying.exchange.heal()
        assert outcome(trader) == "decided"
        assert trader.desks[0].standing.state.quantity > 0


def test_stopping_cancels_own_orders_alone_and_keeps_the_position(buying: Floor) -> None:
    client = trading_client(buying.exchange.url)
    with buying.trader() as trader:
        trader.cycle()
        buying.exchange.advance(bars=1)
        trader.cycle()
        foreign = client.submit_order(
            MarketOrderRequest(symbol=SYMBOL, qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
        )
        held = buying.exchange.exchange.book.held(SYMBOL)
        assert trader.stop() == ()
        assert [order.status for order in orders_of(buying)] == ["filled", "canceled", "accepted"]
        assert str(orders_of(buying)[2].order_id) == str(foreign.id)
        assert buying.exchange.exchange.book.held(SYMBOL) == held == trader.desks[0].standing.state.quantity
    with buying.trader() as trader:
        assert outcome(trader) == "idle"


def test_orders_that_cannot_be_cancelled_are_told(buying: Floor) -> None:
    with buying.trader() as trader:
        trader.cycle()
        buying.exchange.fail("DELETE /v2/orders/")
        (failure,) = trader.stop()
        assert ": not cancelled: broker: DELETE /v2/orders/" in failure
        buying.exchange.heal()
        assert trader.stop() == ()
