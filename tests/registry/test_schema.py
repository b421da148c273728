"""The guard's tables: own migrations, databases of earlier and newer versions, several workers; MLflow's own stay."""

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _get_schema_version, _upgrade_db, _verify_schema
from sqlalchemy import Connection, create_engine, inspect, text

from mlflow_ppo_flavor.registry.schema import HEAD, SCRIPTS, VERSION_TABLE, upgrade
from mlflow_ppo_flavor.registry.store import open_store
from mlflow_ppo_flavor.registry.tables import CONTRACTS, METADATA
from tests.registry import databases
from tests.registry.operating import Folders, proof_of, register, rows

NEW = ("ppo_verdicts", "ppo_approvals", "ppo_overrides", "ppo_registry")


def run(uri: str, *statements: str) -> None:
    engine = create_engine(uri)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def asked(uri: str, question: Callable[[Connection], object]) -> object:
    engine = create_engine(uri)
    with engine.connect() as connection:
        found = question(connection)
    engine.dispose()
    return found


def differences(connection: Connection) -> list[object]:
    """What Alembic would change to make the guard's tables those of `tables`."""
    options = {"include_name": lambda name, kind, _: kind != "table" or name in METADATA.tables}
    context = MigrationContext.configure(connection, opts={**options, "version_table": VERSION_TABLE})
    return list(compare_metadata(context, METADATA))


def revision(connection: Connection) -> object:
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def columns(connection: Connection) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns(CONTRACTS.name)}


UNSTAMPED = {
    "the first one": ("ALTER TABLE ppo_contracts DROP COLUMN vouched", "DROP TABLE ppo_attestations"),
    "with vouched": (),
}


def opens_a_database_of_an_earlier_version(uri: str, folders: Folders, lacking: tuple[str, ...]) -> None:
    """Its contracts and history stay what they were, and what is registered since has the new columns."""
    before = open_store(f"ppo:{uri}")
    register(before, folders, "2.6.0", "unproven")
    before.transition_model_version_stage("m", 1, "Staging", False)
    before.engine.dispose()
    dropped = [f"DROP TABLE {name}" for name in (*NEW, VERSION_TABLE)]
    indexed = [f"DROP INDEX ppo_contracts_{name}" for name in ("root", "beside")]
    added = [f"ALTER TABLE ppo_contracts DROP COLUMN {name}" for name in ("root", "mlmodel", "flavors", "beside")]
    run(uri, *lacking, *indexed, *added, *dropped)
    assert len(asked(uri, columns)) in (10, 11)  # type: ignore[arg-type]
    store = open_store(f"ppo:{uri}")
    assert asked(uri, differences) == []
    assert asked(uri, revision) == HEAD
    store.create_model_version("m", folders["vouched"])
    store.transition_model_version_stage("m", 1, "Production", False)
    assert len(rows(store)) == 2
    assert [proof_of(store, version) for version in (1, 2, 3)] == [
        "golden decisions recorded",
        "unproven: no golden decisions",
        "vouched by Ann: trained by the old trainer",
    ]
    with store.engine.connect() as connection:
        read = connection.execute(text("SELECT version, vouched FROM ppo_contracts ORDER BY version")).all()
    assert [tuple(row) for row in read] == [(1, ""), (2, ""), (3, "vouched by Ann: trained by the old trainer")]
    store.engine.dispose()


@pytest.mark.parametrize("lacking", UNSTAMPED.values(), ids=UNSTAMPED)
def test_a_database_of_an_earlier_version_is_taken_up(tmp_path: Path, folders: Folders, lacking: tuple[str]) -> None:
    opens_a_database_of_an_earlier_version(databases.fresh(tmp_path), folders, lacking)


def test_a_new_database_gets_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    uri = databases.fresh(tmp_path)
    engine = create_engine(uri)
    upgrade(engine)
    assert asked(uri, differences) == []
    assert asked(uri, revision) == HEAD == ScriptDirectory(str(SCRIPTS)).get_current_head()
    run(uri, "ALTER TABLE ppo_verdicts DROP COLUMN seal")
    assert asked(uri, differences) != []
    engine.dispose()


def test_opening_again_changes_nothing_and_the_registry_stays_who_it_is(tmp_path: Path) -> None:
    uri = databases.fresh(tmp_path)
    engine = create_engine(uri)
    seen = []
    for _ in range(2):
        upgrade(engine)
        with engine.connect() as connection:
            made = {name: str(inspect(connection).get_columns(name)) for name in METADATA.tables}
            seen.append((made, connection.execute(text("SELECT registry_id FROM ppo_registry")).scalars().all()))
    assert seen[0] == seen[1]
    assert len(seen[0][1]) == 1
    engine.dispose()


def test_mlflows_migrations_and_the_guards_leave_each_other_alone(tmp_path: Path, folders: Folders) -> None:
    uri = databases.fresh(tmp_path)
    before = asked(uri, lambda connection: _get_schema_version(connection.engine))
    store = open_store(f"ppo:{uri}")
    register(store, folders, "2.6.0")
    _verify_schema(store.engine)
    _upgrade_db(store.engine)
    assert _get_schema_version(store.engine) == before
    assert asked(uri, revision) == HEAD
    open_store(f"ppo:{uri}").transition_model_version_stage("m", 1, "Production", False)


def test_an_older_mlflow_database_is_upgraded_under_the_guards_tables(tmp_path: Path, folders: Folders) -> None:
    uri = databases.fresh(tmp_path)
    store = open_store(f"ppo:{uri}")
    register(store, folders, "2.6.0")
    head = _get_schema_version(store.engine)
    databases.downgrade(store.engine)
    assert _get_schema_version(store.engine) != head
    _upgrade_db(store.engine)
    assert _get_schema_version(store.engine) == head
    open_store(f"ppo:{uri}").transition_model_version_stage("m", 1, "Production", False)
    assert asked(uri, differences) == []


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    uri = databases.fresh(tmp_path)
    open_store(f"ppo:{uri}")
    run(uri, f"UPDATE {VERSION_TABLE} SET version_num = '0099'")
    with pytest.raises(MlflowException) as caught:
        open_store(f"ppo:{uri}")
    assert caught.value.message == (
        "ppo_alembic_version: found revision 0099, expected one of 0001, 0002: the registry's database was opened by a "
        "newer mlflow-ppo-flavor: install that version here too"
    )
    assert caught.value.get_http_status_code() == 400
    assert asked(uri, revision) == "0099"
