"""A server that signs its verdicts, and a trader that trades nothing without one: also against the database's owner."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from live.command import main
from live.journal import Journal
from live.model_source import LoadedModel
from tests.cli.commands import mlflow_ppo
from tests.live.conftest import own_process  # noqa: F401 a fixture
from tests.live.meddled import MeddledExchange
from tests.live.processes import arguments
from tests.live.rooms import KEYS
from tests.live.trading import FIRST, MODEL, SYMBOL, TRADER, Floor, Registry, always, source_of
from tests.mlflow_state import pointed_at
from tests.server.servers import Server, serving
from tests.training.markets import BUY_75, HOLD, bars

pytestmark = [
    pytest.mark.server,
    pytest.mark.filterwarnings("ignore:.*stages.*:FutureWarning"),
    pytest.mark.usefixtures("own_process"),
]
WITHIN = 60.0
FORGED = "don't trade it: look who wrote to the registry's database (`mlflow-ppo audit`)"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A guarded server with a signing key, and the file of its public key, both made by our commands."""
    folder = tmp_path_factory.mktemp("signed")
    private, public = folder / "key.pem", folder / "public.pem"
    made = mlflow_ppo("guard", "init", "--key-file", str(private))
    public.write_text(made.out)
    with serving(folder, "--signing-key", str(private)) as server:
        yield server, public


@pytest.fixture
def floor(signed: tuple[Server, Path], tmp_path: Path) -> Iterator[Floor]:
    """An exchange, and a registry through that server in which version 1 buys and version 2 holds."""
    with pointed_at(signed[0].url), MeddledExchange({SYMBOL: bars()}) as exchange:
        exchange.advance(bars=FIRST)
        yield Floor(exchange, tmp_path / "state")


def execute(server: Server, *statements: str) -> None:
    """What somebody with the database's password does past the gate."""
    with closing(sqlite3.connect(server.database.removeprefix("sqlite:///"))) as database, database:
        for statement in statements:
            assert database.execute(statement).rowcount == 1, statement


def move(version: int, stage: str) -> str:
    return f"UPDATE model_versions SET current_stage = '{stage}' WHERE name = '{MODEL}' AND version = {version}"


def trade(floor: Floor, server: Server, *more: str, orders: int = 0, uri: str | None = None) -> Result:
    """`python -m live` in this process; SIGTERM comes once the exchange has so many orders, or it takes too long."""
    said = arguments(floor.state_dir, floor.exchange.url, *more)
    variables = {"APCA_API_KEY_ID": KEYS.key_id, "APCA_API_SECRET_KEY": KEYS.secret_key}
    over = threading.Event()

    def stop() -> None:
        began = time.monotonic()
        while not over.wait(0.05):
            if 0 < orders <= len(floor.exchange.exchange.book.orders) or time.monotonic() - began > WITHIN:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    watcher = threading.Thread(target=stop, daemon=True)
    watcher.start()
    try:
        return CliRunner().invoke(main, [uri or said[0], *said[1:], "--tracking-uri", server.url], env=variables)
    finally:
        over.set()
        watcher.join()


def refusal(result: Result) -> list[str]:
    """The findings that ended the trader before it ordered anything."""
    assert result.exit_code == 1, result.output
    return result.output.split("refused, ")[1].splitlines()[1:]


def test_a_promoted_version_trades_and_what_goes_behind_the_gates_back_does_not(
    signed: tuple[Server, Path], floor: Floor
) -> None:
    server, public = signed
    sealed = ("--require-verdict", "1", "--verdict-key", str(public))
    client, registry = MlflowClient(), Registry(server.database)
    first, second = registry.log(always(BUY_75)), registry.log(always(HOLD))
    registry.promote(first)
    result = trade(floor, server, *sealed, orders=1)
    assert (result.exit_code, len(floor.exchange.exchange.book.orders)) == (0, 1), result.output
    assert f"{MODEL}/Production version {first}: verified" in result.output

    # the version moved by SQL: what the last verdict says isn't what is loaded
    execute(server, move(second, "Production"), move(first, "Archived"))
    (finding, digest) = refusal(trade(floor, server, *sealed))
    assert finding == f"  [safety] verdict.version: found {first}, what is loaded has {second}: {FORGED}"
    assert digest.startswith("  [safety] verdict.digest: found ")
    assert isinstance(source_of().load(second), LoadedModel), "a trader without a key loads it"
    execute(server, move(second, "None"), move(first, "Production"))

    # promoted as it should be: the verdict follows
    client.transition_model_version_stage(MODEL, str(second), "Production", archive_existing_versions=True)
    result = trade(floor, server, *sealed, orders=1)
    assert f"{MODEL}/Production version {second}: verified" in result.output
    with Journal.open(floor.state_dir, TRADER) as journal:
        assert [(verdict.sequence, verdict.version) for verdict in journal.verdicts()] == [(2, second)]

    # the database put back to where it was: version and verdict agree, and are older than what was seen
    execute(
        server,
        f"DELETE FROM ppo_verdicts WHERE model = '{MODEL}' AND sequence = 2",
        move(second, "Archived"),
        move(first, "Production"),
    )
    assert refusal(trade(floor, server, *sealed)) == [
        f"  [safety] verdict.sequence: found 1 (version {first}), this trader has seen 2 (version {second}): {FORGED}"
    ]
    assert len(floor.exchange.exchange.book.orders) == 1

    # an alias that a trader announced for, and that the gate never set
    alias = f"models:/{MODEL}@x"
    assert "@x: no version stands there" in trade(floor, server, *sealed, uri=alias).output
    columns = "INSERT INTO registered_model_aliases (workspace, name, alias, version) VALUES"
    execute(server, f"{columns} ('default', '{MODEL}', 'x', {first})")
    (finding,) = refusal(trade(floor, server, *sealed, uri=alias))
    assert finding.startswith(f"  [safety] verdict: found none, expected one that the registry signed for {MODEL}@x ")


def test_the_server_tells_its_public_key_and_never_the_private_one(signed: tuple[Server, Path]) -> None:
    server, public = signed
    outcome = mlflow_ppo("guard", "public-key", "--tracking-uri", server.url)
    assert (outcome.code, outcome.out) == (0, public.read_text())
    secret = (server.folder / "key.pem").read_text().splitlines()[1][20:]
    told = [(server.folder / "server.log").read_text(errors="replace")]
    with closing(sqlite3.connect(server.database.removeprefix("sqlite:///"))) as database:
        told += list(database.iterdump())
    assert all(secret not in each for each in told)
