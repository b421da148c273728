"""Removal: what the guard wrote is taken out of a registry's database; MLflow's own data stays as it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, Table, delete, func, inspect, select, update

from mlflow_ppo_flavor.registry.display import BLOCK_MARK, RESERVED_PREFIX, own_text
from mlflow_ppo_flavor.registry.mlflow_tables import MODEL_TAGS, MODELS, TAGS, VERSIONS
from mlflow_ppo_flavor.registry.schema import VERSION_TABLE
from mlflow_ppo_flavor.registry.tables import METADATA, begin_writing


@dataclass(frozen=True, slots=True)
class Remains:
    """What the guard wrote into a database: {its tables: their rows}, {tags' keys: how many}, blocks in descriptions.

    Tags that a user wrote before there was a guard are among them: nothing tells those from its own.
    """

    tables: dict[str, int]
    keys: dict[str, int]
    blocks: int

    @property
    def tags(self) -> int:
        """How many tags there are of all keys."""
        return sum(self.keys.values())

    def __bool__(self) -> bool:
        return bool(self.tables or self.tags or self.blocks)


def remains(engine: Engine) -> Remains:
    """What there is of the guard; a registry that was never guarded has no tables of it, and its tags are its own."""
    with engine.connect() as connection:
        return _remains(connection)


def remove(engine: Engine) -> Remains:
    """Remove all of it in one transaction, and tell what it was."""
    with engine.connect() as connection:
        begin_writing(connection, [])
        found = _remains(connection)
        if found.tables:
            for table in (TAGS, MODEL_TAGS):
                connection.execute(delete(table).where(_reserved(table)))
            for table in (MODELS, VERSIONS):
                _clear_blocks(connection, table)
            for name in found.tables:
                Table(name, MetaData()).drop(connection)
        connection.commit()
        return found


def _remains(connection: Connection) -> Remains:
    there = set(inspect(connection).get_table_names())
    own = [name for name in (*METADATA.tables, VERSION_TABLE) if name in there]
    if not own:
        return Remains({}, {}, 0)
    tables = {name: _count(connection, Table(name, MetaData())) for name in own}
    return Remains(tables, _keys(connection), sum(len(_blocks(connection, table)) for table in (MODELS, VERSIONS)))


def _keys(connection: Connection) -> dict[str, int]:
    """{key: how many tags of models and versions have it}, sorted."""
    found: Counter[str] = Counter()
    for table in (TAGS, MODEL_TAGS):
        query = select(table.c.key, func.count()).where(_reserved(table)).group_by(table.c.key)
        for key, count in connection.execute(query):
            found[key] += count
    return dict(sorted(found.items()))


def _count(connection: Connection, table: Any) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _reserved(table: Any) -> Any:
    return func.lower(func.trim(table.c.key)).like(f"{RESERVED_PREFIX}%")


def _blocks(connection: Connection, table: Any) -> list[tuple[list[Any], str]]:
    """(primary key, the description without the guard's block) where there is one."""
    suspect = func.lower(table.c.description).like(f"%{BLOCK_MARK}%")
    rows = connection.execute(select(*table.primary_key, table.c.description).where(suspect))
    return [(identity, own_text(text)) for *identity, text in rows if own_text(text) != text]


def _clear_blocks(connection: Connection, table: Any) -> None:
    for identity, text in _blocks(connection, table):
        here = (column == value for column, value in zip(table.primary_key, identity, strict=True))
        connection.execute(update(table).where(*here).values(description=text or None))
