"""The live trader as a process: it dies, comes back, ends in peace, and trades with the exchange's own process."""

import signal
import time
from decimal import Decimal
from pathlib import Path

import pytest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderStatus, QueryOrderStatus
from alpaca.trading.requests import GetOrdersRequest
from click.testing import CliRunner

from live.access import KEY_VARIABLE, SECRET_VARIABLE
from live.command import main
from tests.live.processes import ROOT, arguments, environment, running
from tests.live.trading import FIRST, SYMBOL, TRADER, Floor, Registry, always, orders_of
from tests.training.markets import BUY_75, bars

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("own_process")]


def statuses(floor: Floor) -> list[str]:
    """What became of each order at the venue."""
    return [order.status for order in orders_of(floor)]


def test_it_dies_comes_back_and_ends_without_buying_anything_twice(registry: Registry, buying: Floor) -> None:
    """SIGKILL with an order in flight, then while holding; a second instance; a halt that --resume ends; SIGTERM."""
    given, variables = arguments(buying.state_dir, buying.exchange.url), environment(registry)
    with running(["live", *given], variables) as first:
        first.says("decided: ")
        first.kill()
    assert statuses(buying) == ["accepted"]
    with running(["live", *given], variables) as second:
        second.says("verified, spec 2.7.0, 80 golden decisions reproduced")
        time.sleep(0.3)
        assert statuses(buying) == ["accepted"]
        buying.exchange.advance(events=1)
        assert statuses(buying) == ["filled"]
        another = CliRunner().invoke(main, given, env=variables)
        assert another.exit_code == 1
        assert "expected to be free: one trader a state directory: stop that process" in another.output
        second.kill()
    with buying.journal() as journal:
        journal.set_conduct("HALTED", "a test says so")
    buying.exchange.advance(bars=1)
    with running(["live", *given, "--resume"], variables) as third:
        third.says("decided: ")
        third.says("version 1: attested: 80 decisions reproduced")
        assert statuses(buying) == ["filled", "accepted"]
        code, seconds = third.stop()
        assert code == 0, third.text
        assert seconds < 6
        assert third.lines[-1].endswith(" stopped: own orders are cancelled, positions stay as they are")
    assert statuses(buying) == ["filled", "canceled"]
    with buying.trader() as trader:
        assert trader.desks[0].standing.state.quantity == buying.exchange.exchange.book.held(SYMBOL) > 0
        assert [turn.outcome for turn in trader.cycle()] == ["idle"]
    said = first.text + second.text + third.text
    assert not any(word in said for word in ("Traceback", "Warning", "Downloading"))


def test_it_trades_end_to_end_against_the_exchange_as_a_process(registry: Registry, tmp_path: Path) -> None:
    """A day passes in a second; SIGINT ends it like SIGTERM; the keys are nowhere to be read."""
    registry.promote(registry.log(always(BUY_75)))
    frame, file = bars().to_frame(), tmp_path / f"{SYMBOL}.csv"
    frame.assign(time=frame["time"].dt.strftime("%Y-%m-%d")).to_csv(file)
    start = frame["time"].iloc[FIRST].strftime("%Y-%m-%dT16:00:00-04:00")
    exchange = ["live.exchange", "--bars", str(file), "--speed", "86400", "--start", start, "--adjustment", "all"]
    keys = {KEY_VARIABLE: "a-key-of-this-test", SECRET_VARIABLE: "a-secret-of-this-test"}
    variables = environment(registry) | keys
    with running(exchange, variables) as venue:
        url = venue.says("ready ").split()[1]
        with running(["live", *arguments(tmp_path / "state", url, "--max-daily-loss", "0.5")], variables) as trader:
            trader.says("decided: ", times=4)
            code, seconds = trader.stop(signal.SIGINT)
            assert (code, seconds < 6) == (0, True), trader.text
        account = TradingClient(*keys.values(), paper=True, url_override=url)
        (position,) = account.get_all_positions()
        assert Decimal(position.qty) > 0
        orders = account.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL))
        assert len(orders) >= 3
        assert all(order.client_order_id.startswith(f"{TRADER}.{SYMBOL}.") for order in orders)
        assert all(order.status in (OrderStatus.FILLED, OrderStatus.CANCELED) for order in orders)
    assert not any(word in trader.text for word in ("Traceback", "Warning", "Downloading", *keys.values()))
    assert not any(key.encode() in file.read_bytes() for key in keys.values() for file in tmp_path.glob("state/*"))


def test_a_process_that_waits_for_somebody_ends_all_the_same(tmp_path: Path) -> None:
    """SIGTERM while it hangs: so many seconds later it is gone."""
    program = tmp_path / "hanging.py"
    program.write_text(
        "import time\n"
        "from live.stopping import OutOfTime, Stopping\n"
        "stopping = Stopping(0.3)\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    time.sleep(60)\n"
        "except OutOfTime:\n"
        "    print('out of time', stopping.requested, flush=True)\n"
    )
    with running(["hanging"], {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""}) as process:
        process.says("ready")
        code, seconds = process.stop()
        assert (code, process.lines[-1]) == (0, "out of time True")
        assert 0.3 <= seconds < 3


def test_waiting_ends_with_the_signal_and_at_its_time(tmp_path: Path) -> None:
    program = tmp_path / "waiting.py"
    program.write_text(
        "import time\n"
        "from live.stopping import Stopping\n"
        "stopping = Stopping()\n"
        "began = time.monotonic()\n"
        "stopping.wait(0.1)\n"
        "print('ready', 0.1 <= time.monotonic() - began < 1, stopping.requested, flush=True)\n"
        "stopping.wait(60)\n"
        "stopping.wait(60)\n"
        "stopping.over()\n"
        "print('over', stopping.requested, flush=True)\n"
    )
    with running(["waiting"], {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""}) as process:
        assert process.says("ready") == "ready True False"
        code, seconds = process.stop()
        assert (code, process.lines[-1]) == (0, "over True")
        assert seconds < 3
