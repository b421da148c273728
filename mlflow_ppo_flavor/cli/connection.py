"""How commands reach the registry: MLflow's own client, with the patience of a person at a terminal."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlflow_ppo_flavor.errors import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

Command = TypeVar("Command", bound=Callable[..., Any])
# MLflow's own defaults try for minutes: a command says within seconds that nobody answers.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def registry_options(command: Command) -> Command:
    """The options that say where the registry is."""
    for name, env, text in (
        ("--registry-uri", "MLFLOW_REGISTRY_URI", "The registry's URI, where it isn't the tracking server's."),
        ("--tracking-uri", "MLFLOW_TRACKING_URI", "The MLflow server's URI, such as http://127.0.0.1:5000."),
    ):
        command = click.option(name, envvar=env, show_envvar=True, help=text)(command)
    return command


def connect(tracking_uri: str | None, registry_uri: str | None) -> MlflowClient:
    """A client of the registry; RegistryError where neither URI is given: MLflow would make a database here."""
    if not (tracking_uri or registry_uri):
        raise RegistryError(
            "registry: found no URI, expected that of an MLflow server: "
            "give --tracking-uri or set MLFLOW_TRACKING_URI, such as http://127.0.0.1:5000"
        )
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"mlflow\..*|mlflow_ppo_flavor\..*")
    import mlflow

    if tracking_uri:
        mlflow.set_tracking_uri(tracking_uri)
    if registry_uri:
        mlflow.set_registry_uri(registry_uri)
    return mlflow.MlflowClient()


@contextmanager
def answering() -> Iterator[None]:
    """MLflow's errors as ours: PromotionRefused with the gate's findings, RegistryError for anything else."""
    # MLflow takes a second to import: not for --help
    from mlflow_ppo_flavor import announcement

    with announcement.answering("registry"):
        yield
