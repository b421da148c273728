"""Which registered versions' artifacts are frozen, asked of the registry's database before anything is written."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_CONFLICT,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.utils.workspace_context import set_server_request_workspace
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME
from sqlalchemy import Engine, and_, bindparam, func, literal, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from mlflow_ppo_flavor.registry.artifacts import _handlers, locate
from mlflow_ppo_flavor.registry.candidates import SAME_VERSION
from mlflow_ppo_flavor.registry.folders import destination, texts_of, with_parents
from mlflow_ppo_flavor.registry.mlflow_tables import LOCATION, STAGE_DELETED, VERSIONS
from mlflow_ppo_flavor.registry.store import SCHEME, GuardMixin, open_store
from mlflow_ppo_flavor.registry.tables import CONTRACTS

_REGISTRY = "_MLFLOW_SERVER_REGISTRY_STORE"
_ARTIFACTS_ONLY = "_MLFLOW_SERVER_ARTIFACTS_ONLY"
_C: Any = CONTRACTS.c
# every version that is registered and has the flavor, whatever its stage and whichever workspace it is in
_GUARDED = and_(VERSIONS.c.current_stage != STAGE_DELETED, _C.flavored.is_(True))
_AMONG = or_(*(column.in_(bindparam("texts", expanding=True)) for column in (_C.root, _C.beside)))
# MLflow moves versions into another workspace past every store: their files lie where they lay
_SAME_FILES = and_(
    _C.model == VERSIONS.c.name,
    _C.version == VERSIONS.c.version,
    _C.created == func.coalesce(VERSIONS.c.creation_time, 0),
    _C.location == LOCATION,
)
_OWNERS = select(VERSIONS.c.workspace, _C.model, _C.version).distinct()
_OWNERS = _OWNERS.select_from(CONTRACTS.join(VERSIONS, _SAME_FILES)).where(_GUARDED)
# a folder may hold thousands: a message names one
_MOST = 100
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class FrozenVersion:
    """A version whose artifacts are frozen."""

    workspace: str
    model: str
    version: int

    def __str__(self) -> str:
        where = "" if self.workspace == DEFAULT_WORKSPACE_NAME else f" of workspace {self.workspace}"
        return f"{self.model} version {self.version}{where}"


class FrozenVersions:
    """Asks one registry's database, and not a replica of it: what was registered a moment ago counts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._all_located = False

    def owners(self, inside: Collection[Path], above: Collection[Path]) -> list[FrozenVersion]:
        """The versions that one of these paths belongs to, and those that lie at or below one of `above`; sorted.

        Paths are those of folders.true_path or entry_path. By the index for `inside`; `above` reads all contracts.
        """
        self._locate_all()
        root = destination()
        texts = {text for path in set(inside) for known in texts_of(path, root) for text in with_parents(known)}
        over = sorted({text for path in set(above) for text in texts_of(path, root)})
        queries = [_OWNERS.where(_AMONG).params(texts=sorted(texts))]
        # databases bound how long a condition may be, and a folder may hold any number of links
        queries += [_OWNERS.where(or_(*_below(over[i : i + _MOST]))) for i in range(0, len(over), _MOST)]
        with self._engine.connect() as connection:
            for query in queries:
                found = [FrozenVersion(*row) for row in connection.execute(query.limit(_MOST))]
                if found:
                    return sorted(found)
        return []

    def _locate_all(self) -> None:
        """Find the folders of versions whose contracts were kept before their folders were; once in a process.

        409 where one can't be found just now: what is written might be its own.
        """
        if self._all_located:
            return
        with self._lock:
            for version, location in self._unlocated():
                self._locate(version, location)
            self._all_located = True

    def _unlocated(self) -> Sequence[tuple[FrozenVersion, str]]:
        query = select(_C.workspace, _C.model, _C.version, _C.location)
        query = query.select_from(CONTRACTS.join(VERSIONS, SAME_VERSION)).where(_GUARDED, _C.root == "")
        with self._engine.connect() as connection:
            return [(FrozenVersion(*key), location) for *key, location in connection.execute(query)]

    def _locate(self, version: FrozenVersion, location: str) -> None:
        try:
            if os.environ.get(_ARTIFACTS_ONLY) == "true":
                raise MlflowException("this server has no tracking store: start the one that has, and write once there")
            # the workspace of the request in hand is another one
            root, beside = copy_context().run(_locate_in, version.workspace, location)
        except Exception as error:
            if not _is_gone(error):
                raise MlflowException(
                    f"Refused: nothing can be written until it is known where {version} lies: {error}",
                    error_code=RESOURCE_CONFLICT,
                ) from error
            # its run was deleted for good: no path leads there, and this says that it was looked for
            root, beside = location, ""
            _logger.warning("The artifacts of %s aren't frozen: %s", version, error)
        key = (_C.workspace == version.workspace, _C.model == version.model, _C.version == version.version)
        with self._engine.begin() as connection:
            connection.execute(update(CONTRACTS).where(*key, _C.root == "").values(root=root, beside=beside))


def frozen_versions() -> FrozenVersions:
    """What the registry of this server says is frozen; MlflowException where it isn't a guarded one."""
    check_guarded()
    return _asking(_store().engine)


def check_guarded() -> None:
    """MlflowException where this process isn't a server with a guarded registry: nobody says what is frozen."""
    found = os.environ.get(_REGISTRY, "")
    if not found.startswith(SCHEME):
        raise MlflowException(
            f"artifacts: found {'a registry that is not guarded' if found else 'no MLflow server'}, expected an MLflow "
            f"server started with --registry-store-uri {SCHEME}<database URI>, which says what is frozen: ppo-file:/// "
            "is for the --artifacts-destination of such a server alone",
            error_code=INVALID_PARAMETER_VALUE,
        )


@cache
def _asking(engine: Engine) -> FrozenVersions:
    return FrozenVersions(engine)


def _store() -> GuardMixin:
    """The server's own store where it has opened one, so that both share their connections."""
    handlers = _handlers()
    store = _opened(os.environ[_REGISTRY]) if handlers is None else handlers._get_model_registry_store()  # noqa: SLF001
    if not isinstance(store, GuardMixin):
        raise MlflowException(
            f"artifacts: found a {type(store).__name__}, expected the guarded registry store",
            error_code=INVALID_PARAMETER_VALUE,
        )
    return store


@cache
def _opened(store_uri: str) -> GuardMixin:
    return open_store(store_uri)


def _below(texts: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    """No LIKE: SQLite's knows no upper case."""
    for text in texts:
        start = text if text.endswith("/") else f"{text}/"
        for column in (_C.root, _C.beside):
            yield func.substr(column.concat("/"), 1, len(start)) == literal(start)


def _is_gone(error: Exception) -> bool:
    return isinstance(error, MlflowException) and error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)


def _locate_in(workspace: str, location: str) -> tuple[str, str]:
    if MLFLOW_ENABLE_WORKSPACES.get():
        set_server_request_workspace(workspace)
    return locate(location)
