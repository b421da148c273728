"""MLflow's own tables of the registry, without its objects: those carry no types, and double a query's time."""

from __future__ import annotations

from typing import Any

from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL
from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModel,
    SqlRegisteredModelAlias,
    SqlRegisteredModelTag,
)
from sqlalchemy import func

STAGE_DELETED: str = STAGE_DELETED_INTERNAL
VERSIONS: Any = SqlModelVersion.__table__
TAGS: Any = SqlModelVersionTag.__table__
ALIASES: Any = SqlRegisteredModelAlias.__table__
MODELS: Any = SqlRegisteredModel.__table__
MODEL_TAGS: Any = SqlRegisteredModelTag.__table__
# Where a version's model lies: the storage location where MLflow knows one.
LOCATION: Any = func.coalesce(VERSIONS.c.storage_location, VERSIONS.c.source, "")
