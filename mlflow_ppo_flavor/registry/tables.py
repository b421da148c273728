"""The guard's own tables, in MLflow's database but apart from its metadata, and the locks of its transactions."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.orm import Session

METADATA = MetaData()
DATABASES = ("sqlite", "postgresql")
# Widths are those of MLflow's own columns: names 256, workspaces 63, aliases 255 and their @.
_BIG = BigInteger().with_variant(Integer, "sqlite")

# `created` and `location` say which version a row belongs to: a name and number can come back as another version.
CONTRACTS = Table(
    "ppo_contracts",
    METADATA,
    Column("workspace", String(63), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("created", BigInteger, nullable=False),
    Column("location", Text, nullable=False),
    Column("flavored", Boolean, nullable=False),
    Column("spec", Text),
    Column("digest", String(64), nullable=False),
    Column("golden", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
)

ANNOUNCEMENTS = Table(
    "ppo_announcements",
    METADATA,
    Column("workspace", String(63), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("label", String(256), primary_key=True),
    Column("trader_id", String(64), primary_key=True),
    Column("announcement", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("who", String(256), nullable=False),
)

HISTORY = Table(
    "ppo_history",
    METADATA,
    Column("id", _BIG, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("workspace", String(63), nullable=False),
    Column("model", String(256), nullable=False),
    Column("who", String(256), nullable=False),
    Column("operation", Text, nullable=False),
    Column("allowed", Boolean, nullable=False),
    Column("fact", Text, nullable=False),
    Column("moves", Text, nullable=False),
    Column("fleet", Text, nullable=False),
    Column("findings", Text, nullable=False),
    Column("digests", Text, nullable=False),
    Index("ppo_history_model", "workspace", "model", "id"),
)


def create_tables(engine: Engine) -> None:
    """Create what is missing; several workers may start at once."""
    with engine.connect() as connection:
        begin_writing(connection, [])
        METADATA.create_all(connection)
        connection.commit()


def begin_writing(connection: Connection | Session, names: Iterable[str]) -> None:
    """Start the transaction's write lock: the database on SQLite, one lock for each name on PostgreSQL.

    Must be the first statement of its transaction. The locks end with it.
    """
    if _dialect(connection) == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))
        return
    lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
    # in one order everywhere, so that two transactions never wait for each other
    for name in sorted({f"mlflow-ppo:{name}" for name in names}) or ["mlflow-ppo"]:
        connection.execute(lock, {"key": name})


def _dialect(connection: Connection | Session) -> str:
    if isinstance(connection, Session):
        return connection.get_bind().dialect.name
    return connection.dialect.name
