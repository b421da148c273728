"""Account, positions, assets, clock and calendar, as alpaca-py's models read them."""

from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import AssetStatus, OrderSide, PositionSide, TimeInForce
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    LimitOrderRequest,
    MarketOrderRequest,
)

from live.exchange.server import ExchangeServer
from tests.live.exchange.venues import trading_client

pytestmark = pytest.mark.server
NEW_YORK = ZoneInfo("America/New_York")


def order(trading: TradingClient, symbol: str, side: OrderSide, qty: float) -> None:
    trading.submit_order(MarketOrderRequest(symbol=symbol, side=side, qty=qty, time_in_force=TimeInForce.DAY))


def test_a_new_account_holds_its_cash(reading: ExchangeServer) -> None:
    account = trading_client(reading.url).get_account()
    told = (account.cash, account.equity, account.last_equity, account.buying_power, account.multiplier)
    assert told == ("100000", "100000", "100000", "100000", "1")
    assert account.status.value == "ACTIVE"
    assert not (account.trading_blocked)
    assert not (account.account_blocked)
    assert not (account.trade_suspended_by_user)
    assert account.pattern_day_trader is None


def test_buying_and_the_next_close_move_cash_equity_and_buying_power(
    server: ExchangeServer, trading: TradingClient
) -> None:
    order(trading, "AAA", OrderSide.BUY, 100)
    assert trading.get_account().buying_power == "98950"
    server.advance(bars=1)
    account = trading.get_account()
    assert account.cash == "98899.45"
    assert account.long_market_value == "1125"
    assert account.equity == account.portfolio_value == "100024.45"
    assert account.buying_power == "98899.45"
    assert account.last_equity == "100000"
    server.advance(bars=1)
    account = trading.get_account()
    assert (account.equity, account.last_equity) == ("100174.45", "100024.45")


def test_a_position_is_told_at_the_last_price(server: ExchangeServer, trading: TradingClient) -> None:
    order(trading, "AAA", OrderSide.BUY, 2)
    server.advance(bars=1)
    order(trading, "AAA", OrderSide.BUY, 1)
    server.advance(events=1)
    held = trading.get_open_position("AAA")
    assert (held.side, held.qty, held.qty_available) == (PositionSide.LONG, "3", "3")
    assert (held.current_price, held.market_value) == ("12", "36")
    assert Decimal(held.avg_entry_price) == (2 * Decimal("11.0055") + Decimal("12.006")) / 3
    assert held.cost_basis == "34.017"
    assert held.unrealized_pl == "1.983"
    assert trading.get_all_positions() == [held]
    assert trading.get_open_position(held.asset_id) == held
    server.advance(events=1)
    order(trading, "AAA", OrderSide.SELL, 2.5)
    server.advance(bars=1)
    reduced = trading.get_open_position("AAA")
    assert (reduced.qty, reduced.avg_entry_price) == ("0.5", held.avg_entry_price)


def test_a_short_is_told_with_negative_quantity_and_value(server: ExchangeServer, trading: TradingClient) -> None:
    order(trading, "AAA", OrderSide.SELL, 10)
    server.advance(bars=1)
    held, account = trading.get_open_position("AAA"), trading.get_account()
    assert (held.side, held.qty, held.market_value) == (PositionSide.SHORT, "-10", "-112.5")
    assert (account.short_market_value, account.cash) == ("-112.5", "100109.945")
    assert account.buying_power == "99884.945"


@pytest.mark.parametrize(
    ("options", "sold", "left"),
    [
        (None, "7.5", None),
        (ClosePositionRequest(qty="2.5"), "2.5", "5"),
        (ClosePositionRequest(percentage="50"), "3.75", "3.75"),
        (ClosePositionRequest(percentage="33.333333333"), "2.499999999", "5.000000001"),
    ],
)
def test_a_position_is_closed_whole_or_in_part(
    server: ExchangeServer, trading: TradingClient, options: ClosePositionRequest | None, sold: str, left: str | None
) -> None:
    order(trading, "AAA", OrderSide.BUY, 7.5)
    server.advance(bars=1)
    closing = trading.close_position("AAA", options)
    assert (closing.side, closing.qty, closing.filled_qty) == (OrderSide.SELL, sold, "0")
    server.advance(bars=1)
    held = {position.symbol: position.qty for position in trading.get_all_positions()}
    assert held == ({} if left is None else {"AAA": left})


def test_all_positions_are_closed_each_with_its_own_answer(server: ExchangeServer, trading: TradingClient) -> None:
    order(trading, "AAA", OrderSide.BUY, 2)
    order(trading, "BBB", OrderSide.SELL, 3)
    server.advance(bars=1)
    resting = LimitOrderRequest(symbol="AAA", side=OrderSide.SELL, qty=1, limit_price=99, time_in_force=TimeInForce.DAY)
    trading.submit_order(resting)
    first, second = trading.close_all_positions()
    assert (first.symbol, first.status, first.body.code) == ("AAA", 403, 40310000)
    assert (second.symbol, second.status, second.body.side) == ("BBB", 200, OrderSide.BUY)
    again, held_back = trading.close_all_positions(cancel_orders=True)
    assert (again.status, held_back.status) == (200, 200)
    server.advance(bars=1)
    assert trading.get_all_positions() == []


def test_a_position_smaller_than_any_order_can_still_be_closed(server: ExchangeServer, trading: TradingClient) -> None:
    order(trading, "AAA", OrderSide.BUY, 1)
    server.advance(bars=1)
    order(trading, "AAA", OrderSide.SELL, 0.95)
    server.advance(bars=1)
    trading.close_position("AAA")
    server.advance(bars=1)
    assert trading.get_all_positions() == []


def test_assets_tell_what_may_be_traded(reading: ExchangeServer, trading: TradingClient) -> None:
    asset = trading_client(reading.url).get_asset("AAA")
    assert (asset.tradable, asset.fractionable, asset.shortable, asset.easy_to_borrow) == (True, True, True, True)
    assert (asset.min_order_size, asset.min_trade_increment, asset.price_increment) == (1e-9, 1e-9, 0.01)
    assert trading_client(reading.url).get_asset(str(asset.id)) == asset
    listed = {asset.symbol: asset.status for asset in trading.get_all_assets()}
    assert listed == {"AAA": AssetStatus.ACTIVE, "BBB": AssetStatus.ACTIVE, "NEW": AssetStatus.INACTIVE}
    active = trading.get_all_assets(GetAssetsRequest(status=AssetStatus.ACTIVE))
    assert [asset.symbol for asset in active] == ["AAA", "BBB"]


def test_the_clock_knows_the_closure_and_the_clock_change(server: ExchangeServer, trading: TradingClient) -> None:
    server.advance(bars=2)
    clock = trading.get_clock()
    assert (clock.is_open, clock.timestamp) == (False, datetime(2012, 10, 26, 16, tzinfo=NEW_YORK))
    assert clock.next_open == datetime(2012, 10, 31, 9, 30, tzinfo=NEW_YORK)
    server.advance(events=1)
    assert trading.get_clock().is_open
    assert trading.get_clock().next_close == datetime(2012, 10, 31, 16, tzinfo=NEW_YORK)
    server.advance(bars=3)
    monday = trading.get_clock().next_open
    assert monday == datetime(2012, 11, 5, 9, 30, tzinfo=NEW_YORK)
    assert monday.utcoffset().total_seconds() == -5 * 3600


def test_the_calendar_tells_local_hours(reading: ExchangeServer) -> None:
    asked = GetCalendarRequest(start=date(2012, 11, 21), end=date(2012, 11, 23))
    days = trading_client(reading.url).get_calendar(asked)
    assert [(day.date, day.open.hour, day.open.minute, day.close.hour) for day in days] == [
        (date(2012, 11, 21), 9, 30, 16),
        (date(2012, 11, 23), 9, 30, 13),
    ]
