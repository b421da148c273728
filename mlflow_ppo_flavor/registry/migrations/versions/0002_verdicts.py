"""Verdicts, approvals, overrides, who the registry is, and where and what each contract was read from."""

import uuid
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_FOUND = (("root", sa.Text()), ("mlmodel", sa.String(64)), ("flavors", sa.Text()), ("beside", sa.Text()))


def _bound() -> list[sa.Column[Any]]:
    """Which version a row speaks of: a name and number can come back as another one."""
    return [
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
    ]


def upgrade() -> None:
    """Add the columns and create the tables."""
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("ppo_contracts")}
    for name, kind in _FOUND:
        if name not in present:
            op.add_column("ppo_contracts", sa.Column(name, kind, nullable=False, server_default=""))
    indexed = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("ppo_contracts")}
    for name in ("root", "beside"):
        if f"ppo_contracts_{name}" not in indexed:
            op.create_index(f"ppo_contracts_{name}", "ppo_contracts", [name], postgresql_using="hash")
    there = set(sa.inspect(op.get_bind()).get_table_names())
    for name, create in (
        ("ppo_verdicts", _create_verdicts),
        ("ppo_approvals", _create_approvals),
        ("ppo_overrides", _create_overrides),
        ("ppo_registry", _create_registry),
    ):
        if name not in there:
            create()


def _create_verdicts() -> None:
    op.create_table(
        "ppo_verdicts",
        sa.Column("workspace", sa.String(63), primary_key=True),
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("label", sa.String(256), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer),
        *_bound(),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.Text),
    )


def _create_approvals() -> None:
    op.create_table(
        "ppo_approvals",
        sa.Column("workspace", sa.String(63), primary_key=True),
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("label", sa.String(256), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("who", sa.String(256), primary_key=True),
        *_bound(),
        sa.Column("at", sa.BigInteger, nullable=False),
    )


def _create_overrides() -> None:
    op.create_table(
        "ppo_overrides",
        sa.Column("id", _BIG, primary_key=True, autoincrement=True),
        sa.Column("workspace", sa.String(63), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("label", sa.String(256), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        *_bound(),
        sa.Column("who", sa.String(256), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
    )
    op.create_index("ppo_overrides_reference", "ppo_overrides", ["workspace", "model", "label", "version"])


def _create_registry() -> None:
    table = op.create_table("ppo_registry", sa.Column("registry_id", sa.String(36), primary_key=True))
    op.bulk_insert(table, [{"registry_id": str(uuid.uuid4())}])
