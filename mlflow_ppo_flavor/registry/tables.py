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
    inspect,
    text,
)
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateColumn

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
    Column("vouched", Text, nullable=False, server_default=""),
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

ATTESTATIONS = Table(
    "ppo_attestations",
    METADATA,
    Column("workspace", String(63), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("trader_id", String(64), primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("location", Text, nullable=False),
    Column("attestation", Text, nullable=False),
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
        _add_columns(connection)
        connection.commit()


def _add_columns(connection: Connection) -> None:
    """Add the columns that an earlier version's tables don't have; each has a default that is right for its rows."""
    present = {column["name"] for column in inspect(connection).get_columns(CONTRACTS.name)}
    for column in CONTRACTS.columns:
        if column.name not in present:
            definition = CreateColumn(column).compile(connection)
            connection.execute(text(f"ALTER TABLE {CONTRACTS.name} ADD COLUMN {definition}"))


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
