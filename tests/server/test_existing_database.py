"""An MLflow database of thousands of versions that was never guarded: the gate starts on it and promotes at once."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from mlflow_ppo_flavor.registry.tables import CONTRACTS
from tests.registry import databases
from tests.registry.filling import fill
from tests.server.servers import Answer, Server, environment, serving

pytestmark = pytest.mark.server
EACH = 1_000
POLICIES, OTHERS, GONE = "desk-00000", "desk-00001", "desk-00002"
# Seconds: a first promotion may read a model's contracts, others read what they move alone.
FIRST, LATER = 30.0, 5.0


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, str]) -> tuple[Path, str]:
    """Three models of 1,000 versions each: policies, models of another flavor, and models whose artifacts are gone."""
    folder = tmp_path_factory.mktemp("existing")
    uri = databases.fresh(folder)
    policies = [Path(folders["2.7.0" if i % 2 else "2.6.0"]) for i in range(EACH)]
    engine = sqlalchemy.create_engine(uri)
    fill(engine, [*policies, *[Path(folders["sklearn"])] * EACH, *[Path(folders["missing"])] * EACH], models=3)
    engine.dispose()
    return folder, uri


@pytest.fixture(scope="module")
def existing(filled: tuple[Path, str]) -> Iterator[Server]:
    """The guarded server on that database, as it was."""
    with serving(filled[0], database=filled[1]) as server:
        yield server


def timed(server: Server, model: str, version: int, within: float) -> Answer:
    """A promotion that takes no longer than this."""
    start = time.monotonic()
    answer = server.promote(model, str(version), archive_existing_versions=True)
    spent = time.monotonic() - start
    print(f"{model} version {version}: {answer.status} after {spent:.2f} s")
    assert spent <= within
    return answer


def test_first_promotions_are_judged_though_no_contract_was_read(existing: Server) -> None:
    assert existing.announce(POLICIES, version="2.6.0").status == 200
    assert timed(existing, POLICIES, EACH - 1, FIRST).status == 200
    refused = timed(existing, POLICIES, EACH, LATER)
    assert refused.status == 409
    assert f"{POLICIES} version {EACH} can't become Production: trader live-1 (2.6.0)" in refused.body["message"][:150]
    assert existing.production(POLICIES) == [str(EACH - 1)]


def test_models_of_another_flavor_are_read_once_and_let_alone(existing: Server) -> None:
    assert timed(existing, OTHERS, EACH, FIRST).status == 200
    assert timed(existing, OTHERS, 1, LATER).status == 200
    assert existing.production(OTHERS) == ["1"]


def test_versions_whose_artifacts_are_gone_enter_nothing_and_may_leave(existing: Server) -> None:
    refused = timed(existing, GONE, 1, FIRST)
    assert refused.status == 409
    assert "MLmodel can't be read" in refused.body["message"]
    assert existing.call("DELETE", "model-versions/delete", {"name": GONE, "version": "1"}).status == 200


def test_guard_install_reads_what_is_left(existing: Server) -> None:
    program = str(Path(sys.executable).with_name("mlflow-ppo"))
    start = time.monotonic()
    done = subprocess.run(
        [program, "guard", "install", existing.database], env=environment(), capture_output=True, text=True, timeout=300
    )
    print(f"guard install: {time.monotonic() - start:.1f} s")
    assert "0 of 1 protected references load what would be refused today" in done.stdout + done.stderr
    engine = sqlalchemy.create_engine(existing.database)
    with engine.connect() as connection:
        query = sqlalchemy.select(CONTRACTS.c.model, sqlalchemy.func.count()).group_by(CONTRACTS.c.model)
        read = dict(connection.execute(query).all())
    engine.dispose()
    assert read[POLICIES] == read[OTHERS] == EACH
    assert timed(existing, POLICIES, 1, LATER).status == 200
