"""The guard's own tables, in MLflow's database but apart from its metadata, and the locks of its transactions.

What is changed here needs a migration: a script in `migrations`, and `schema.HEAD`.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
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

# `root` and `beside` are the folders that a load of the version draws from, as folders.folder_of names them.
# `mlmodel` is the sha256 of MLmodel's bytes, `flavors` the canonical JSON of which `digest` is the sha256.
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
    Column("root", Text, nullable=False, server_default=""),
    Column("mlmodel", String(64), nullable=False, server_default=""),
    Column("flavors", Text, nullable=False, server_default=""),
    Column("beside", Text, nullable=False, server_default=""),
    # every write of an artifact asks by these; PostgreSQL's btree refuses long texts
    Index("ppo_contracts_root", "root", postgresql_using="hash"),
    Index("ppo_contracts_beside", "beside", postgresql_using="hash"),
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

# What a reference has loaded, in order: append-only. `version` is null where it was emptied, `seal` where no key is.
VERDICTS = Table(
    "ppo_verdicts",
    METADATA,
    Column("workspace", String(63), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("label", String(256), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer),
    Column("created", BigInteger, nullable=False),
    Column("location", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("seal", Text),
)

APPROVALS = Table(
    "ppo_approvals",
    METADATA,
    Column("workspace", String(63), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("label", String(256), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("who", String(256), primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("location", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
)

OVERRIDES = Table(
    "ppo_overrides",
    METADATA,
    Column("id", _BIG, primary_key=True, autoincrement=True),
    Column("workspace", String(63), nullable=False),
    Column("model", String(256), nullable=False),
    Column("label", String(256), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("location", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("who", String(256), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Index("ppo_overrides_reference", "workspace", "model", "label", "version"),
)

# One row: who this registry is, in every verdict that it signs.
REGISTRY = Table("ppo_registry", METADATA, Column("registry_id", String(36), primary_key=True))


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
