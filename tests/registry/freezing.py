"""A repository that freezes, in this process, and what the tests of it write."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.tracking import MlflowClient
from sqlalchemy import select, update

from mlflow_ppo_flavor.registry import frozen_versions
from mlflow_ppo_flavor.registry.frozen import FrozenRepository
from mlflow_ppo_flavor.registry.store import GuardMixin
from mlflow_ppo_flavor.registry.tables import CONTRACTS
from tests.mlflow_state import pointed_at
from tests.registry.model_folders import ppo_flavors, trained, write_mlmodel

REFUSED = r"^Refused: the artifacts of m version 1 are frozen since it was registered: "
DESTINATION, REGISTRY = "_MLFLOW_SERVER_ARTIFACT_DESTINATION", "_MLFLOW_SERVER_REGISTRY_STORE"
PLACE = "0/run/artifacts/policy"


@pytest.fixture
def art(tmp_path: Path, store: GuardMixin, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository's folder, in a process with the environment of a server's worker."""
    monkeypatch.setenv(REGISTRY, f"ppo:{store.engine.url}")
    monkeypatch.setenv(DESTINATION, f"ppo-file://{tmp_path}/art")
    return tmp_path / "art"


@pytest.fixture
def repository(art: Path) -> Iterator[LocalArtifactRepository]:
    """The repository as MLflow's handlers build it."""
    built = get_artifact_repository(os.environ[DESTINATION])
    assert isinstance(built, FrozenRepository)
    yield built
    frozen_versions._opened.cache_clear()


@pytest.fixture
def tracking(store: GuardMixin, art: Path) -> Iterator[MlflowClient]:
    """A client of the database itself, whose runs keep their artifacts in the repository's folder."""
    uri = str(store.engine.url)
    with pointed_at(uri, f"ppo:{uri}"):
        made = MlflowClient()
        made.create_experiment("e", artifact_location=(art / "1").as_uri())
        yield made


def model(folder: Path) -> str:
    """A model with a weights file in a folder, and the folder's name."""
    write_mlmodel(folder, ppo_flavors(trained("2.7.0")))
    (folder / "policy.safetensors").write_bytes(b"weights")
    return str(folder)


def register(store: GuardMixin, source: str, name: str = "m") -> str:
    if name not in {found.name for found in store.search_registered_models()}:
        store.create_registered_model(name)
    return str(store.create_model_version(name, source).version)


def put(repository: LocalArtifactRepository, path: str, data: bytes = b"evil") -> None:
    folder, _, name = path.rpartition("/")
    repository.log_artifact_from_stream(io.BytesIO(data), name, folder or None)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def kept(store: GuardMixin) -> list[tuple[str, str]]:
    """The folders that the contracts of model m name."""
    query = select(CONTRACTS.c.root, CONTRACTS.c.beside).where(CONTRACTS.c.model == "m")
    with store.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def forget_folders(store: GuardMixin) -> None:
    """Contracts as they were kept before their folders were."""
    with store.engine.begin() as connection:
        connection.execute(update(CONTRACTS).values(root="", beside=""))
