"""Verifying a stored model: its files checked, its golden decisions replayed with the code that runs here."""

from __future__ import annotations

import os
from pathlib import Path

from mlflow_ppo_flavor.model.replay import reproduce
from mlflow_ppo_flavor.model.reproduction import Reproduction
from mlflow_ppo_flavor.model.storage import StoredModel, read_model


def verify_model(folder: str | os.PathLike[str]) -> Reproduction | None:
    """What came of replaying the golden decisions of the model in a folder; None for a model without any.

    Fetch a registered one with `mlflow.artifacts.download_artifacts`; `attest` takes what passed. Raises as
    `read_model`.
    """
    return reproduce_model(read_model(Path(folder)))


def reproduce_model(stored: StoredModel) -> Reproduction | None:
    """The same of a model that was read already. IntegrityError where its golden decisions can't be read."""
    if stored.golden is None:
        return None
    return reproduce(stored.golden, stored.policy, stored.spec, digest=stored.digest)
