"""Fills at the next open, less costs: through alpaca-py's client, against the bars and the shared fill model, to the
bit.
"""

from decimal import Decimal

import pytest
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest
from hypothesis import given
from hypothesis import strategies as st

from live.exchange.server import ExchangeServer, Settings
from live.exchange.wire import number
from mlflow_ppo_flavor.decision.account import AccountState, apply_fill, mark
from mlflow_ppo_flavor.decision.market import Costs, Fill, fill_at_open
from tests.live.exchange.venues import trading_client
from training.series import demo_bars

QUANTITIES = ("12", "3.141592653", "-7.5", "0.123456789", "-7.765049442", "100.5")


@pytest.mark.server
def test_six_days_of_orders_fill_as_the_environment_fills_them() -> None:
    """Real bars, adjusted prices of many digits, GOOG's and AAPL's; decided at a close, filled at the next open."""
    bars = {symbol: demo_bars(symbol) for symbol in ("AAPL", "GOOG")}
    first = len(bars["AAPL"]) - 11
    costs = Costs(spread_bps=3.7)
    state = AccountState.start(100_000.0)
    settings = Settings(start=int(bars["AAPL"].time[first]) + 16 * 3_600 * 10**9, spread_bps=costs.spread_bps)
    with ExchangeServer(bars, settings) as server:
        trading = trading_client(server.url)
        for day, text in enumerate(QUANTITIES):
            quantity, row = Decimal(text), first + day + 1
            side = OrderSide.BUY if quantity > 0 else OrderSide.SELL
            asked = MarketOrderRequest(
                symbol="AAPL", side=side, qty=float(abs(quantity)), time_in_force=TimeInForce.DAY, client_order_id=text
            )
            trading.submit_order(asked)
            server.advance(bars=1)
            told = trading.get_order_by_client_id(text)
            expected = fill_at_open(quantity, int(bars["AAPL"].time[row]), float(bars["AAPL"].open[row]), costs)
            signed = Decimal(told.filled_qty).copy_sign(quantity)
            assert (signed, float(told.filled_avg_price)) == (expected.quantity, expected.price)
            assert expected.fee == 0.0
            state = mark(apply_fill(state, Fill(0, signed, float(told.filled_avg_price), 0.0)), bars["AAPL"].close[row])
        account = trading.get_account()
        assert Decimal(trading.get_open_position("AAPL").qty) == state.quantity
    assert float(account.cash) == pytest.approx(state.cash, rel=1e-12)
    assert float(account.equity) == pytest.approx(state.equity, rel=1e-12)


@given(st.floats(1e-12, 1e15))
def test_a_price_survives_the_wire_to_the_bit(price: float) -> None:
    text = number(price)
    assert float(text) == price
    assert set(text) <= set("0123456789.")


@given(st.integers(1, 10**15).map(lambda n: Decimal(n).scaleb(-9)))
def test_a_quantity_survives_the_client_which_sends_floats(quantity: Decimal) -> None:
    """alpaca-py turns quantities into floats; up to 15 digits they come out as they went in."""
    asked = MarketOrderRequest(symbol="AAA", side=OrderSide.BUY, qty=float(quantity), time_in_force=TimeInForce.DAY)
    sent = asked.to_request_fields()["qty"]
    assert Decimal(repr(sent)) == quantity
    assert Decimal(number(quantity)) == quantity
