"""Fixtures of the flavor's tests: an MLflow of its own on SQLite for each test, whose database is made once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

TRACKING_SCHEME = "sqlite:///"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: its migrations take seconds."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"{TRACKING_SCHEME}{path}", f"{TRACKING_SCHEME}{path}").search_experiments()
    return path


@pytest.fixture
def registry(empty_database: Path, tmp_path: Path) -> Iterator[str]:
    """The URI of a new database that is MLflow's tracking store and registry during a test; artifacts lie beside it."""
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_database, path)
    uri, before = f"{TRACKING_SCHEME}{path}", (mlflow.get_tracking_uri(), mlflow.get_registry_uri())
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    experiment = mlflow.create_experiment("tests", artifact_location=(tmp_path / "artifacts").as_uri())
    mlflow.set_experiment(experiment_id=experiment)
    yield uri
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])
