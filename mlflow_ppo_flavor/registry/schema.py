"""The guard's tables brought to this version: own Alembic migrations, which leave MLflow's own alone."""

from __future__ import annotations

import logging
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from sqlalchemy import Connection, Engine, column, inspect, select, table

from mlflow_ppo_flavor.registry.tables import begin_writing

VERSION_TABLE = "ppo_alembic_version"
_VERSIONS = table(VERSION_TABLE, column("version_num"))
HEAD = "0002"
"""The revision of the tables in `tables`."""
SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Create or migrate the guard's tables; several workers may start at once.

    MlflowException where a newer version has migrated them: its rows may mean what this one would misread.
    """
    if _is_at_head(engine):
        return
    with engine.connect() as connection:
        begin_writing(connection, [])
        revision = _revision(connection)
        if revision != HEAD:
            _check_known(revision)
            _migrate(connection)
        connection.commit()


def _is_at_head(engine: Engine) -> bool:
    with engine.connect() as connection:
        return _revision(connection) == HEAD


def _revision(connection: Connection) -> str:
    """The revision that the tables have; empty where they aren't there or were made before revisions were written."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    return connection.execute(select(_VERSIONS.c.version_num)).scalar() or ""


def _check_known(revision: str) -> None:
    known = sorted(path.name.partition("_")[0] for path in (SCRIPTS / "versions").glob("[0-9]*.py"))
    if revision and revision not in known:
        raise MlflowException(
            f"{VERSION_TABLE}: found revision {revision}, expected one of {', '.join(known)}: the registry's database "
            "was opened by a newer mlflow-ppo-flavor: install that version here too",
            error_code=INVALID_PARAMETER_VALUE,
        )


def _migrate(connection: Connection) -> None:
    # Alembic takes time to import, and logs each step to whoever starts a server
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    logger = logging.getLogger("alembic.runtime.migration")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        command.upgrade(config, "head")
    finally:
        logger.setLevel(level)
