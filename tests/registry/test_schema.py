"""The guard's tables: made where they are missing, and completed where an earlier version made them."""

from pathlib import Path

from sqlalchemy import create_engine, inspect, text

from mlflow_ppo_flavor.registry.store import open_store
from mlflow_ppo_flavor.registry.tables import CONTRACTS, METADATA, create_tables
from tests.registry import databases
from tests.registry.operating import Folders, proof_of, register


def columns(uri: str) -> set[str]:
    engine = create_engine(uri)
    found = {column["name"] for column in inspect(engine).get_columns(CONTRACTS.name)}
    engine.dispose()
    return found


def opens_a_database_of_an_earlier_version(uri: str, folders: Folders) -> None:
    """Its contracts stay what they were, and what is registered since has the new column."""
    before = open_store(f"ppo:{uri}")
    register(before, folders, "2.6.0", "unproven")
    with before.engine.connect() as connection:
        connection.execute(text("ALTER TABLE ppo_contracts DROP COLUMN vouched"))
        connection.execute(text("DROP TABLE ppo_attestations"))
        connection.commit()
    before.engine.dispose()
    assert "vouched" not in columns(uri)
    store = open_store(f"ppo:{uri}")
    assert columns(uri) == {column.name for column in CONTRACTS.columns}
    store.create_model_version("m", folders["vouched"])
    store.transition_model_version_stage("m", 1, "Production", False)
    assert [proof_of(store, version) for version in (1, 2, 3)] == [
        "golden decisions recorded",
        "unproven: no golden decisions",
        "vouched by Ann: trained by the old trainer",
    ]
    with store.engine.connect() as connection:
        read = connection.execute(text("SELECT version, vouched FROM ppo_contracts ORDER BY version")).all()
    assert [tuple(row) for row in read] == [(1, ""), (2, ""), (3, "vouched by Ann: trained by the old trainer")]
    store.engine.dispose()


def test_a_database_of_an_earlier_version_is_opened(tmp_path: Path, folders: Folders) -> None:
    opens_a_database_of_an_earlier_version(databases.fresh(tmp_path), folders)


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    engine = create_engine(databases.fresh(tmp_path))
    create_tables(engine)
    before = {name: inspect(engine).get_columns(name) for name in METADATA.tables}
    create_tables(engine)
    assert {name: str(inspect(engine).get_columns(name)) for name in METADATA.tables} == {
        name: str(found) for name, found in before.items()
    }
    engine.dispose()
