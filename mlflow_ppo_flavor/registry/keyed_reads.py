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

    @staticmethod
    def _get_eager_model_version_query_options() -> list[Any]:
        return [selectinload(SqlModelVersion.model_version_tags)]

    @staticmethod
    def _get_eager_registered_model_query_options() -> list[Any]:
        return [
            selectinload(SqlRegisteredModel.registered_model_tags),
            selectinload(SqlRegisteredModel.registered_model_aliases),
        ]

    def _populate_model_version_aliases(self, session: Session, name: str, version: Any) -> Any:
        here = {"workspace": self._get_active_workspace(), "name": name}
        aliases: Any = select(SqlRegisteredModelAlias.alias, SqlRegisteredModelAlias.version).filter_by(**here)
        version.aliases = [alias for alias, number in session.execute(aliases) if number == version.version]
        return version
