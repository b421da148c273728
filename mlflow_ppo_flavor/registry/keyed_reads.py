"""MLflow's own reads in fewer and cheaper statements: they pay for what the guard adds to its store's calls."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModel,
    SqlRegisteredModelAlias,
    SqlRegisteredModelTag,
)
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    String,
    Text,
    and_,
    bindparam,
    event,
    func,
    inspect,
    select,
    tuple_,
)
from sqlalchemy.engine import Result
from sqlalchemy.orm import ORMExecuteState, Session, UserDefinedOption, joinedload
from sqlalchemy.orm.attributes import set_committed_value

from mlflow_ppo_flavor.registry.session import SessionMaker

Key = tuple[Any, ...]
Asked = tuple[Any, Key]  # a column, and its value of each
# of what is found: the collections to bring along, what they hold, and its columns that name the one it belongs to
_ALONG: dict[type, list[tuple[str, Any, tuple[str, ...]]]] = {
    SqlModelVersion: [("model_version_tags", SqlModelVersionTag, ("workspace", "name", "version"))],
    SqlRegisteredModel: [
        ("registered_model_tags", SqlRegisteredModelTag, ("workspace", "name")),
        ("registered_model_aliases", SqlRegisteredModelAlias, ("workspace", "name")),
    ],
}
_WRITES = "writes"  # a session's information: whether it writes


class KeyedReads(SqlAlchemyStore):
    """A SQL registry store that brings tags and aliases along by the keys of what was found; its answers are MLflow's.

    MLflow repeats the whole search to find the tags of what it found, which costs more as soon as any version has a
    tag: the gate writes some. It reads the registered model to find the aliases of one version.
    """

    def __init__(self, db_uri: str, read_db_uri: str | None = None) -> None:
        super().__init__(db_uri, read_db_uri=read_db_uri)  # type: ignore[no-untyped-call]
        self.ManagedSessionMaker = _bringing_along(self.ManagedSessionMaker)

    # MLflow's are static, but called on the store alone, which knows its database
    def _get_eager_model_version_query_options(self) -> list[Any]:  # type: ignore[override]
        if self.engine.dialect.name in _AMONG:
            return [_Along()]
        return list(super()._get_eager_model_version_query_options())  # type: ignore[no-untyped-call]

    def _get_eager_registered_model_query_options(self) -> list[Any]:  # type: ignore[override]
        if self.engine.dialect.name in _AMONG:
            return [_Along()]
        return list(super()._get_eager_registered_model_query_options())  # type: ignore[no-untyped-call]

    def _get_model_version_from_db(
        self, session: Session, name: str, version: Any, conditions: Any, query_options: Any = None
    ) -> Any:
        # a session that writes moves the version, and MLflow writes its model next
        along = [joinedload(SqlModelVersion.registered_model)] if session.info[_WRITES] else []
        mlflows: Any = super()._get_model_version_from_db
        return mlflows(session, name, version, conditions, query_options or along)

    def _populate_model_version_aliases(self, session: Session, name: str, version: Any) -> Any:
        here = {"workspace": self._get_active_workspace(), "name": name}
        aliases: Any = select(SqlRegisteredModelAlias.alias, SqlRegisteredModelAlias.version).filter_by(**here)
        version.aliases = [alias for alias, number in session.execute(aliases) if number == version.version]
        return version


class _Along(UserDefinedOption):
    """On a query: bring the collections of what it finds along."""


def _bringing_along(own: SessionMaker) -> SessionMaker:
    """A session maker whose sessions heed `_Along` and know whether they write."""

    @contextmanager
    def bringing(read_only: bool = True) -> Iterator[Session]:
        with own(read_only=read_only) as session:
            session.info[_WRITES] = not read_only
            event.listen(session, "do_orm_execute", _execute)
            yield session

    return bringing


def _execute(state: ORMExecuteState) -> Result[Any] | None:
    if not any(isinstance(option, _Along) for option in state.user_defined_options):
        return None
    found = state.invoke_statement().freeze()
    _bring_along(state.session, found().scalars().all())
    return found()


def _bring_along(session: Session, found: Sequence[Any]) -> None:
    for collection, held, columns in _ALONG[type(found[0])] if found else ():
        # SQLite's JSON ends at a NUL, which MLflow allows in names: SQLAlchemy fetches these one by one
        without = [each for each in found if collection not in inspect(each).dict and "\0" not in each.name]
        belonging = _belonging(session, held, columns, without)
        for each in without:
            set_committed_value(each, collection, belonging.get(_key(each, columns), ()))


def _belonging(session: Session, held: Any, columns: tuple[str, ...], owners: list[Any]) -> dict[Key, list[Any]]:
    belonging = defaultdict(list)
    if owners:
        parts = zip(*(_key(each, columns) for each in owners), strict=True)
        asked = [(getattr(held, column), part) for column, part in zip(columns, parts, strict=True)]
        for each in session.scalars(select(held).where(_among(session, asked))):
            belonging[_key(each, columns)].append(each)
    return belonging


def _key(each: Any, columns: tuple[str, ...]) -> Key:
    return tuple(getattr(each, column) for column in columns)


def _among(session: Session, asked: list[Asked]) -> ColumnElement[bool]:
    """The rows whose columns have these values together: an equality where a column has one for all."""
    same = [column == part[0] for column, part in asked if len(set(part)) == 1]
    varying = [(column, part) for column, part in asked if len(set(part)) > 1]
    return and_(*same, *([_AMONG[session.get_bind().dialect.name](varying)] if varying else []))


def _among_arrays(asked: list[Asked]) -> ColumnElement[bool]:
    """One parameter for each column, whatever the number of keys: PostgreSQL plans long lists of rows for long."""
    arrays = [
        bindparam(None, list(part), type_=ARRAY(Integer if isinstance(column.type, Integer) else Text))
        for column, part in asked
    ]
    listed = func.unnest(*arrays).table_valued(*(f"of_{column.key}" for column, _ in asked)).render_derived()
    return tuple_(*(column for column, _ in asked)).in_(select(*listed.c))


def _among_json(asked: list[Asked]) -> ColumnElement[bool]:
    """A parameter for the rows and one for each column, as SQLite uses an index for no list of rows."""
    listed = _listed(list(zip(*(part for _, part in asked), strict=True)))
    rows = select(*(func.json_extract(listed.c.value, f"$[{i}]") for i in range(len(asked))))
    each = (column.in_(select(_listed(sorted(set(part))).c.value)) for column, part in asked)
    return and_(tuple_(*(column for column, _ in asked)).in_(rows), *each)


def _listed(values: list[Any]) -> Any:
    return func.json_each(bindparam(None, json.dumps(values), type_=String)).table_valued("value")


_AMONG: dict[str, Callable[[list[Asked]], ColumnElement[bool]]] = {
    "postgresql": _among_arrays,
    "sqlite": _among_json,
}
