"""`python -m live`: what it refuses, and what it says then. Its processes are in `test_process.py`."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

import mlflow_ppo_flavor as ppo
from live.access import KEY_VARIABLE, SECRET_VARIABLE
from live.command import main
from live.stopping import Stopping
from tests.live.processes import arguments, environment
from tests.live.trading import MODEL, SPEC, TRADER, Floor, Registry, orders_of
from tests.model.policies import policy_of

SECRET = "a-secret-that-nobody-may-see"
REAL = ["--paper", "0", "--i-understand-this-trades-real-money"]


pytestmark = pytest.mark.usefixtures("own_process")


def run(floor: Floor, registry: Registry, *more: str, **changes: Any) -> Result:
    """The command in this process; it ends by itself, since it is refused."""
    given = environment(registry) | changes
    return CliRunner().invoke(main, arguments(floor.state_dir, floor.exchange.url, *more), env=given)


def said(result: Result, code: int) -> str:
    """All that it said, given that it ended with this code and without a traceback."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    return result.output


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--paper", "0"], 1, "Error: broker: found paper off without the word for real money, expected both"),
        (["--i-understand-this-trades-real-money"], 1, "Error: broker: found real money and paper, expected one"),
        (REAL, 1, "expected https://api.alpaca.markets: keys go nowhere else"),
        (["--trading-url", "http://example.com"], 1, "Error: trading URL: found http://example.com, expected https"),
        (["--as-trader", "2.6.0", *REAL], 1, "Error: as_trader: found 2.6.0, expected none with real money"),
        (["--as-trader", "9.0"], 1, "Error: as_trader: found 9.0, expected at most 2.7.0, which is installed"),
        (["--trader-id", "a trader"], 1, "Error: trader_id: found 'a trader', expected an id of letters"),
        (["--max-daily-loss", "2"], 2, "Invalid value for '--max-daily-loss': 2.0 is not in the range"),
        (["--on-refused", "hope"], 2, "'hope' is not one of 'continue', 'reduce', 'halt'"),
        (["--timeframe", "5Min"], 2, "'5Min' is not one of '1Day', '1Hour', '1Min'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_announced(
    more: list[str], code: int, message: str, registry: Registry, floor: Floor
) -> None:
    assert message in said(run(floor, registry, *more), code)
    assert MlflowClient().search_registered_models() == []
    assert not floor.state_dir.exists()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/ppo-meanrev/1", "MODEL_URI: found models:/ppo-meanrev/1, expected models:/<name>/Production"),
        ("runs:/1/policy", "MODEL_URI: found runs:/1/policy, expected models:/<name>/Production"),
        ("models:/ppo-meanrev@latest", "reference: found '@latest', expected an alias that MLflow allows"),
    ],
)
def test_what_is_no_reference_is_refused(uri: str, message: str, registry: Registry, tmp_path: Path) -> None:
    told = ["--symbols", "AAPL", "--state-dir", str(tmp_path / "state")]
    assert message in said(CliRunner().invoke(main, [uri, *told], env=environment(registry)), 1)


def test_no_symbol_no_keys_and_no_registry_are_told(registry: Registry, floor: Floor) -> None:
    assert "found no symbol, expected at least one such as AAPL" in said(
        CliRunner().invoke(main, ["models:/m/Production", "--symbols", " , ", "--state-dir", "x"]), 2
    )
    without_keys = run(floor, registry, **{KEY_VARIABLE: "", SECRET_VARIABLE: ""})
    assert f"found no {KEY_VARIABLE} and no {SECRET_VARIABLE}, expected the keys" in said(without_keys, 1)
    without_registry = run(floor, registry, MLFLOW_TRACKING_URI="", MLFLOW_REGISTRY_URI="")
    assert "--tracking-uri: found none, expected that of the MLflow server" in said(without_registry, 2)


def test_it_announces_itself_before_it_loads_also_for_an_empty_reference(registry: Registry, floor: Floor) -> None:
    """And the gate counts with it from then on."""
    output = said(run(floor, registry), 1)
    assert f" announced {TRADER}, trader 2.7.0, for {MODEL}/Production\n" in output
    assert output.endswith(f"Error: {MODEL}/Production: no version stands there: promote one, then start again\n")
    ahead = policy_of(replace(SPEC, requires_trader=">=2.8.0"))
    version = int(ppo.log_model(ahead, name="policy", registered_model_name=MODEL).registered_model_version)
    with pytest.raises(Exception, match=rf"^Refused: .*{TRADER}"):
        registry.promote(version)


def test_a_refused_announcement_ends_it_before_it_loads(registry: Registry, buying: Floor) -> None:
    output = said(run(buying, registry, "--as-trader", "2.6.0"), 1)
    assert "announced" not in output
    assert "verified" not in output
    assert output.startswith("Error: Refused: ")
    assert "2.6.0" in output
    assert orders_of(buying) == ()


def test_a_model_that_the_trader_refuses_ends_it_with_every_reason(registry: Registry, buying: Floor) -> None:
    output = said(run(buying, registry, "--timeframe", "1Hour", "--adjustment", "raw"), 1)
    assert output.split("Error: ")[1] == (
        f"{MODEL}/Production version 1: refused, 2 finding(s)\n"
        "  [safety] bars.timeframe: found 1Hour, the model was trained on 1Day: leave the flag out or give 1Day\n"
        "  [safety] bars.adjustment: found raw, the model was trained on all: leave the flag out or give all\n"
    )


def test_the_strict_switch_refuses_version_findings(registry: Registry, floor: Floor) -> None:
    ahead = policy_of(replace(SPEC, requires_trader=">=2.8.0"))
    registry.force(int(ppo.log_model(ahead, name="policy", registered_model_name=MODEL).registered_model_version))
    output = said(run(floor, registry, "--strict-version", "1"), 1)
    assert "requires trader >=2.8.0" in output


def test_a_state_directory_of_another_trader_is_refused(registry: Registry, buying: Floor) -> None:
    with buying.journal():
        assert "held by process" in said(run(buying, registry), 1)
    output = said(run(buying, registry, "--trader-id", "live-2"), 1)
    assert f"found the journal of trader '{TRADER}', expected 'live-2'" in output
    assert "announced" not in output


def test_keys_that_are_refused_are_told_without_being_shown(registry: Registry, buying: Floor) -> None:
    output = said(run(buying, registry, **{SECRET_VARIABLE: SECRET, KEY_VARIABLE: f"{SECRET}-id"}), 1)
    assert "Error: broker: GET /v2/clock: unauthorised: status 401: unauthorized." in output
    assert SECRET not in output
    assert all(SECRET.encode() not in path.read_bytes() for path in buying.state_dir.iterdir())


def test_an_unreachable_registry_is_told(registry: Registry, buying: Floor) -> None:
    nowhere = "http://127.0.0.1:9"
    mlflow.set_registry_uri(nowhere)
    output = said(run(buying, registry, "--tracking-uri", nowhere, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0"), 1)
    assert f"Error: {MODEL}/Production: not announced: " in output
    assert "look whether the tracking and registry URI are right, and the server up" in output


def stop_soon(spoil: Callable[[], None]) -> threading.Timer:
    """In a second, something goes wrong, and SIGTERM comes."""

    def stop() -> None:
        spoil()
        os.kill(os.getpid(), signal.SIGTERM)

    timer = threading.Timer(1.0, stop)
    timer.start()
    return timer


def test_orders_that_cannot_be_cancelled_are_no_peaceful_end(registry: Registry, buying: Floor) -> None:
    stop_soon(lambda: buying.exchange.fail("DELETE /v2/orders/"))
    output = said(run(buying, registry), 1)
    assert "Error: stopped, but own orders may stand:\norder live-1.MEANREV." in output
    assert ": not cancelled: broker: DELETE /v2/orders/" in output


def test_a_venue_that_hangs_does_not_keep_the_process(
    registry: Registry, buying: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live.command.Stopping", lambda: Stopping(0.3))

    def hang(status: int, body: Any) -> tuple[int, Any]:
        time.sleep(1.5)
        return status, body

    stop_soon(lambda: buying.exchange.changes.update({"GET /v2/": hang}))
    output = said(run(buying, registry), 1)
    assert output.endswith(
        "Error: stopped, but out of time: found a request that hangs, expected own orders to be cancelled: "
        "look at the account, or start again to take them up\n"
    )
