"""How commands reach the registry: MLflow's own client, with the patience of a person at a terminal."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from mlflow_ppo_flavor.contract.masking import masked
from mlflow_ppo_flavor.errors import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

Command = TypeVar("Command", bound=Callable[..., Any])
# MLflow's own defaults try for minutes, as libpq does: a command says within seconds that nobody answers.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "PGCONNECT_TIMEOUT": "10",
}
_GUARDED = "ppo:"
_EXPECTED = (
    "the URI of an MLflow server, such as http://127.0.0.1:5000, "
    "or of its database, such as sqlite:////srv/mlflow/mlflow.db or postgresql://…"
)
_LONGEST_REASON = 300


def registry_options(command: Command) -> Command:
    """The options that say where the registry is."""
    for name, env, text in (
        ("--registry-uri", "MLFLOW_REGISTRY_URI", "The registry's URI, where it isn't the tracking server's."),
        ("--tracking-uri", "MLFLOW_TRACKING_URI", "The MLflow server's URI, such as http://127.0.0.1:5000."),
    ):
        command = click.option(name, envvar=env, show_envvar=True, help=text)(command)
    return command


def connect(tracking_uri: str | None, registry_uri: str | None) -> MlflowClient:
    """A client of the registry. RegistryError, which names the option, for a URI that can't be one, and for a database
    that doesn't answer; and where neither URI is given: MLflow would make a database here.
    """
    # beside a registry alone MLflow would make a database for tracking here
    tracking = tracking_uri or (registry_uri or "").removeprefix(_GUARDED)
    if not tracking:
        raise RegistryError(
            "registry: found no URI, expected that of an MLflow server: "
            "give --tracking-uri or set MLFLOW_TRACKING_URI, such as http://127.0.0.1:5000"
        )
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"mlflow\..*|mlflow_ppo_flavor\..*")
    import mlflow
    from mlflow.tracking._model_registry.utils import _get_store

    mlflow.set_tracking_uri(tracking)
    with _opening("--registry-uri" if registry_uri else "--tracking-uri", registry_uri or tracking):
        if registry_uri:
            mlflow.set_registry_uri(registry_uri)
        # the client would open it at its first request
        _get_store()
    with _opening("--tracking-uri" if tracking_uri else "--registry-uri", tracking):
        return mlflow.MlflowClient()


@contextmanager
def _opening(option: str, uri: str) -> Iterator[None]:
    """What MLflow and SQLAlchemy raise of a URI, as RegistryError: one line that says what the option takes."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    place = masked(uri)
    try:
        _check(uri)
        yield
    except (UnsupportedModelRegistryStoreURIException, ArgumentError, ValueError) as error:
        raise RegistryError(f"{option}: found {place}, expected {_EXPECTED}") from error
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise RegistryError(f"{option}: {place}: {error}: install the database's driver") from error
    except SQLAlchemyError as error:
        remedy = "look whether it is right, and the database up"
        raise RegistryError(f"{option}: {place} can't be used: {_reason(error)}: {remedy}") from error
    except MlflowException as error:
        if urlsplit(uri).scheme in ("", "file"):
            raise RegistryError(f"{option}: found {place}, expected {_EXPECTED}") from error
        raise RegistryError(f"{option}: {place} can't be used: {_reason(error)}") from error


def _check(uri: str) -> None:
    """ValueError for what can't be a URI; a database is tried once, where MLflow's default is ten times."""
    parts = urlsplit(uri.removeprefix(_GUARDED))
    if parts.scheme not in ("http", "https"):
        from mlflow.store.db import utils

        utils.MAX_RETRY_COUNT = 1
    elif not parts.hostname or parts.port == 0:
        raise ValueError("no host")


def _reason(error: Exception) -> str:
    """What an error says, in one line, without the statement that SQLAlchemy shows."""
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    return said if len(said) <= _LONGEST_REASON else said[:_LONGEST_REASON] + "…"


@contextmanager
def answering() -> Iterator[None]:
    """MLflow's errors as ours: PromotionRefused with the gate's findings, RegistryError for anything else."""
    # MLflow takes a second to import: not for --help
    from mlflow_ppo_flavor import announcement

    with announcement.answering("registry"):
        yield
