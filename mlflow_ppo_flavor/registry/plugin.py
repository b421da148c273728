"""Entry point of the registry scheme `ppo:`. Tiny: every MLflow process that opens any registry loads this module."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.store.model_registry.abstract_store import AbstractStore


def build_store(store_uri: str) -> AbstractStore:
    """The guarded store of `ppo:<database URI>`; MlflowException for a database that the gate can't lock."""
    from mlflow_ppo_flavor.registry.store import open_store

    return open_store(store_uri)
