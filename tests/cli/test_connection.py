"""How commands end where a URI is wrong or nobody answers there: one line that names the option, within seconds."""

import os
import socket
import time
from pathlib import Path

import pytest

from tests.cli.commands import mlflow_ppo
from tests.registry import databases
from tests.server.servers import free_port

EXPECTED = (
    "expected the URI of an MLflow server, such as http://127.0.0.1:5000, "
    "or of its database, such as sqlite:////srv/mlflow/mlflow.db or postgresql://…\n"
)


@pytest.mark.parametrize(
    ("option", "uri", "shown"),
    [
        ("--tracking-uri", "ftp://127.0.0.1", "ftp://127.0.0.1"),
        ("--tracking-uri", "./mlruns", "./mlruns"),
        ("--tracking-uri", "nonsense", "nonsense"),
        ("--tracking-uri", "http://", "http://"),
        ("--tracking-uri", "http://ann:pw@127.0.0.1:99999", "http://ann:***@127.0.0.1:99999"),
        ("--registry-uri", "ppo:postgresql+psycopg2://x:pw@[bad/db", "ppo:postgresql+psycopg2://x:***@[bad/db"),
        ("--registry-uri", "nosuch+driver://x:pw@host/db", "nosuch+driver://x:***@host/db"),
    ],
)
def test_what_is_no_registrys_uri_is_one_line_that_names_the_option(
    option: str, uri: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["audit"], ["history"], ["promote", "m", "1", "Production"]):
        outcome = mlflow_ppo(*command, option, uri)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err == f"Error: {option}: found {shown}, {EXPECTED}"
    assert list(tmp_path.iterdir()) == [], "nothing is made of it"


def test_of_two_uris_the_wrong_one_is_named(tmp_path: Path) -> None:
    good = databases.fresh(tmp_path)
    outcome = mlflow_ppo("history", "--tracking-uri", good, "--registry-uri", "ftp://127.0.0.1")
    assert outcome.err == f"Error: --registry-uri: found ftp://127.0.0.1, {EXPECTED}"
    outcome = mlflow_ppo("history", "--tracking-uri", "ftp://127.0.0.1", "--registry-uri", f"ppo:{good}")
    assert outcome.err == f"Error: --tracking-uri: found ftp://127.0.0.1, {EXPECTED}"


def test_a_registry_alone_is_enough_and_no_database_is_made_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, here = databases.fresh(tmp_path), tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert mlflow_ppo("history", "--registry-uri", f"ppo:{uri}").out == "no history\n"
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("before", ["", "ppo:"])
def test_a_database_that_does_not_answer_is_told_within_seconds(before: str, tmp_path: Path) -> None:
    uri = f"postgresql+psycopg2://ann:hunter2secret@127.0.0.1:{free_port()}/db"
    option = "--registry-uri" if before else "--tracking-uri"
    for command in (["doctor"], ["audit"], ["promote", "m", "1", "Production"]):
        began = time.monotonic()
        outcome = mlflow_ppo(*command, option, f"{before}{uri}")
        assert time.monotonic() - began < 30, "MLflow's own ten tries take more than a minute"
        assert (outcome.code, outcome.out) == (2, "")
        place = before + uri.replace("hunter2secret", "***")
        assert outcome.err.startswith(f"Error: {option}: {place} can't be used: connection to server at ")
        assert outcome.err.endswith(": look whether it is right, and the database up\n")
        assert outcome.err.count("\n") == 1


def test_a_database_that_takes_the_call_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"postgresql+psycopg2://ann@127.0.0.1:{silent.getsockname()[1]}/db"
        outcome = mlflow_ppo("doctor", "--tracking-uri", uri, PGCONNECT_TIMEOUT="2")
    assert outcome.code == 2
    assert f"{uri} can't be used: " in outcome.err
    assert "timeout expired" in outcome.err


def test_a_drivers_absence_is_the_databases_and_no_extra_of_ours() -> None:
    outcome = mlflow_ppo("doctor", "--tracking-uri", "postgresql+pg8000://u:pw@127.0.0.1:1/db")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "Error: --tracking-uri: postgresql+pg8000://u:***@127.0.0.1:1/db: No module named 'pg8000': "
        "install the database's driver\n"
    )


def test_a_server_that_does_not_answer_is_told_without_its_password() -> None:
    uri = f"http://user:hunter2secret@127.0.0.1:{free_port()}"
    for command in (["doctor"], ["audit", "m"], ["promote", "m", "1", "Production"]):
        outcome = mlflow_ppo(*command, "--tracking-uri", uri)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith(f"Error: registry: API request to {uri.replace('hunter2secret', '***')}/api/")
        assert "hunter2secret" not in outcome.err


def test_patience_is_for_commands_alone() -> None:
    before = {name: value for name, value in os.environ.items() if name.startswith(("PG", "MLFLOW_HTTP"))}
    mlflow_ppo("doctor", "--tracking-uri", f"http://127.0.0.1:{free_port()}")
    assert {name: value for name, value in os.environ.items() if name.startswith(("PG", "MLFLOW_HTTP"))} == before
