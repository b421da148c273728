"""`python -m live`: what it refuses, and what it says then. Its processes are in `test_process.py`."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

import mlflow_ppo_flavor as ppo
from live.access import KEY_VARIABLE, SECRET_VARIABLE
from live.command import main
from live.seal_check import SealTerms
from live.settings import Settings
from live.stopping import Stopping
from mlflow_ppo_flavor.contract.keys import SigningKey, VerifyingKeys
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


def key_files(folder: Path) -> tuple[SigningKey, list[str]]:
    """A signing key, and the files of its public key and of another one."""
    keys = [SigningKey.generate() for _ in range(2)]
    for i, key in enumerate(keys):
        (folder / f"{i}.pem").write_text(key.public.pem)
    return keys[0], [str(folder / f"{i}.pem") for i in range(2)]


def test_real_money_needs_a_key_to_know_verdicts_by(registry: Registry, tmp_path: Path) -> None:
    """By default, which paper does not; nothing is announced without one."""
    told = [f"models:/{MODEL}/Production", "--symbols", "AAPL", "--state-dir", str(tmp_path / "state")]
    message = (
        "Error: --verdict-key: found none, expected the public key of the registry's gate: "
        "`mlflow-ppo guard public-key` prints it; --require-verdict 0 trades without\n"
    )
    for more in (REAL, [*REAL, "--require-verdict", "1"], ["--require-verdict", "1"]):
        assert said(CliRunner().invoke(main, [*told, *more], env=environment(registry)), 1) == message
    assert MlflowClient().search_registered_models() == []
    _, (file, other) = key_files(tmp_path)
    empty = f"Error: {MODEL}/Production: no version stands there: promote one, then start again\n"
    for more in ([*REAL, "--require-verdict", "0"], [], [*REAL, "--verdict-key", file, "--verdict-key", other]):
        assert said(CliRunner().invoke(main, [*told, *more], env=environment(registry)), 1).endswith(empty)
    variable = {"MLFLOW_PPO_VERDICT_KEYS": os.pathsep.join((file, other))}
    result = CliRunner().invoke(main, [*told, *REAL], env=environment(registry) | variable)
    assert said(result, 1).endswith(empty)


def test_verdicts_are_those_of_the_workspace_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    unsaid: dict[str, Any] = dict.fromkeys(member.name for member in fields(Settings))
    settings = Settings(**unsaid | {"paper": True, "verdict_key": ()})
    for workspace, told in (("team-a", "team-a"), ("", None)):
        monkeypatch.setenv("MLFLOW_WORKSPACE", workspace)
        assert settings.seal_terms == SealTerms(VerifyingKeys(), required=False, workspace=told)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "found No such file or directory, expected a file with a key"),
        (b"", "found no PEM block, expected an Ed25519 public key (PEM, -----BEGIN PUBLIC KEY-----)"),
    ],
)
def test_a_verdict_key_that_cannot_be_read_is_told_before_anything_is_announced(
    content: bytes | None, message: str, registry: Registry, floor: Floor, tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    output = said(run(floor, registry, "--verdict-key", str(path)), 1)
    assert output.startswith(f"Error: {path}: {message}")
    assert MlflowClient().search_registered_models() == []


def test_a_private_key_given_in_place_of_the_public_one_is_refused_and_not_shown(
    registry: Registry, floor: Floor, tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    SigningKey.generate().write(path)
    output = said(run(floor, registry, "--verdict-key", str(path)), 1)
    assert "found a PEM block PRIVATE KEY, expected an Ed25519 public key" in output
    assert path.read_text().splitlines()[1][20:] not in output


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
