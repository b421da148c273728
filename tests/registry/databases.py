"""MLflow databases for tests: one is migrated (it takes seconds), every test gets a copy of it."""

import atexit
import shutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import Engine, event

from mlflow_ppo_flavor.registry.store import GuardMixin, open_store


@event.listens_for(Engine, "connect")
def _without_fsync(connection: Any, _: Any) -> None:
    """No test pulls the plug: waiting for the disk would take most of their time."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


@cache
def migrated() -> Path:
    """A database with MLflow's tables and nothing in them."""
    folder = Path(tempfile.mkdtemp(prefix="mlflow-ppo-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "empty.db"
    SqlAlchemyStore(f"sqlite:///{path}").engine.dispose()
    return path


def fresh(folder: Path, name: str = "mlflow.db") -> str:
    """The URI of a new, empty MLflow database in a folder."""
    path = folder / name
    shutil.copyfile(migrated(), path)
    return f"sqlite:///{path}"


def guarded(folder: Path) -> GuardMixin:
    """A guarded store on a new database."""
    return open_store(f"ppo:{fresh(folder)}")


def unguarded(folder: Path) -> SqlAlchemyStore:
    """MLflow's own store on a new database: what the guard is compared with."""
    return SqlAlchemyStore(fresh(folder))


def downgrade(engine: Engine) -> None:
    """Take MLflow's last migration back: the database as an older MLflow leaves it."""
    config = _get_alembic_config(str(engine.url))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
