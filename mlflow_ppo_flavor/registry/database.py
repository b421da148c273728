"""Database: an MLflow registry's database looked at before any store opens it, which would make or migrate tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from mlflow_ppo_flavor.errors import RegistryError
from mlflow_ppo_flavor.registry.mlflow_tables import MODELS
from mlflow_ppo_flavor.registry.tables import CONTRACTS, DATABASES

SCHEME = "ppo:"
_EXPECTED = "expected the URI of an MLflow server's database, such as sqlite:////srv/mlflow/mlflow.db or postgresql://…"


def plain_uri(uri: str) -> str:
    """The database's own URI; RegistryError for what isn't one that the gate can lock."""
    plain = uri.removeprefix(SCHEME)
    try:
        kind = make_url(plain).get_backend_name()
    except (ArgumentError, ValueError):
        kind = ""
    if kind not in DATABASES:
        found = "no database" if not kind else f"a database of the kind {kind}"
        raise RegistryError(f"registry: found {found}, {_EXPECTED}")
    return plain


def public_uri(uri: str) -> str:
    """A database's URI as a message shows it, without its password."""
    return make_url(uri).render_as_string(hide_password=True)


@contextmanager
def opened(uri: str) -> Iterator[Engine]:
    """An engine on a registry's database that is there; RegistryError where it isn't, or holds no registry."""
    place = public_uri(uri)
    url = make_url(uri)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise RegistryError(f"registry: found no file at {place}, {_EXPECTED}")
    try:
        engine = create_engine(uri)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise RegistryError(f"registry: {place}: {error}: install the database's driver") from error
    try:
        if not inspect(engine).has_table(MODELS.name):
            raise RegistryError(f"registry: found no MLflow registry in {place}, {_EXPECTED}")
        yield engine
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
        raise RegistryError(f"registry: {place} can't be used: {reason}") from error
    finally:
        engine.dispose()


def has_guard(uri: str) -> bool:
    """Whether the guard's tables are in a registry's database."""
    with opened(uri) as engine:
        return inspect(engine).has_table(CONTRACTS.name)
