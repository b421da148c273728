"""MLflow's own reads in fewer and cheaper statements: they pay for what the guard adds to its store's calls."""

from __future__ import annotations

from typing import Any

from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModel, SqlRegisteredModelAlias
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload


class KeyedReads(SqlAlchemyStore):
    """A SQL registry store that brings tags and aliases along by the keys of what was found; its answers are MLflow's.

    MLflow repeats the whole search to find the tags of what it found, as soon as any version has a tag: the gate
    writes some. It reads the registered model to find the aliases of one version.
    """

    # MLflow's are static, but called on the store alone, which knows its database
    def _get_eager_model_version_query_options(self) -> list[Any]:  # type: ignore[override]
        if self._scans_for_keys():
            return list(super()._get_eager_model_version_query_options())  # type: ignore[no-untyped-call]
        return [selectinload(SqlModelVersion.model_version_tags)]

    def _get_eager_registered_model_query_options(self) -> list[Any]:  # type: ignore[override]
        if self._scans_for_keys():
            return list(super()._get_eager_registered_model_query_options())  # type: ignore[no-untyped-call]
        return [
            selectinload(SqlRegisteredModel.registered_model_tags),
            selectinload(SqlRegisteredModel.registered_model_aliases),
        ]

    def _scans_for_keys(self) -> bool:
        """SQLite uses no index for several columns IN a list: it would look at every tag that there is."""
        return bool(self.engine.dialect.name == "sqlite")

    def _populate_model_version_aliases(self, session: Session, name: str, version: Any) -> Any:
        here = {"workspace": self._get_active_workspace(), "name": name}
        aliases: Any = select(SqlRegisteredModelAlias.alias, SqlRegisteredModelAlias.version).filter_by(**here)
        version.aliases = [alias for alias, number in session.execute(aliases) if number == version.version]
        return version
