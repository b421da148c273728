"""Contracts, announcements, attestations and history. Adopts tables made before revisions were written."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create what isn't there; contracts of the first days lack `vouched`."""
    there = set(sa.inspect(op.get_bind()).get_table_names())
    if "ppo_contracts" not in there:
        _create_contracts()
    elif "vouched" not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("ppo_contracts")}:
        op.add_column("ppo_contracts", sa.Column("vouched", sa.Text, nullable=False, server_default=""))
    for name, create in (
        ("ppo_announcements", _create_announcements),
        ("ppo_attestations", _create_attestations),
        ("ppo_history", _create_history),
    ):
        if name not in there:
            create()


def _create_contracts() -> None:
    op.create_table(
        "ppo_contracts",
        sa.Column("workspace", sa.String(63), primary_key=True),
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("flavored", sa.Boolean, nullable=False),
        sa.Column("spec", sa.Text),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("golden", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("vouched", sa.Text, nullable=False, server_default=""),
    )


def _create_announcements() -> None:
    op.create_table(
        "ppo_announcements",
        sa.Column("workspace", sa.String(63), primary_key=True),
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("label", sa.String(256), primary_key=True),
        sa.Column("trader_id", sa.String(64), primary_key=True),
        sa.Column("announcement", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("who", sa.String(256), nullable=False),
    )


def _create_attestations() -> None:
    op.create_table(
        "ppo_attestations",
        sa.Column("workspace", sa.String(63), primary_key=True),
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("trader_id", sa.String(64), primary_key=True),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("attestation", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("who", sa.String(256), nullable=False),
    )


def _create_history() -> None:
    op.create_table(
        "ppo_history",
        sa.Column("id", _BIG, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("workspace", sa.String(63), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("who", sa.String(256), nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("allowed", sa.Boolean, nullable=False),
        sa.Column("fact", sa.Text, nullable=False),
        sa.Column("moves", sa.Text, nullable=False),
        sa.Column("fleet", sa.Text, nullable=False),
        sa.Column("findings", sa.Text, nullable=False),
        sa.Column("digests", sa.Text, nullable=False),
    )
    op.create_index("ppo_history_model", "ppo_history", ["workspace", "model", "id"])
