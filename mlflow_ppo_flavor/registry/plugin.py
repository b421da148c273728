"""Entry points of the schemes `ppo:` and `ppo-file:`. Tiny: every process that imports mlflow loads this module."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.model_registry.abstract_store import AbstractStore


def build_store(store_uri: str) -> AbstractStore:
    """The guarded store of `ppo:<database URI>`; MlflowException for a database that the gate can't lock."""
    from mlflow_ppo_flavor.registry.store import open_store

    return open_store(store_uri)


def build_repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> ArtifactRepository:
    """The repository of `ppo-file:///folder`; MlflowException where no guarded registry says what is frozen."""
    from mlflow_ppo_flavor.registry.frozen import FrozenRepository

    return FrozenRepository(artifact_uri, tracking_uri, registry_uri)


def _freeze_plain_paths() -> None:
    """In a server that freezes artifacts, plain paths and `file:` lead to the same repository.

    A client may give such a path as an experiment's artifact location, and MLflow's server then writes there.
    """
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry

    for scheme in ("", "file"):
        _artifact_repository_registry.register(scheme, build_repository)


# in the server's own processes alone, and before they answer anybody
if os.environ.get("_MLFLOW_SERVER_ARTIFACT_DESTINATION", "").lower().startswith("ppo-file:"):
    _freeze_plain_paths()
