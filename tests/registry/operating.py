"""What tests do to a store, and ask of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, g
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import select

from mlflow_ppo_flavor.contract.digest import canonical_json
from mlflow_ppo_flavor.contract.request import Request
from mlflow_ppo_flavor.contract.trader import Announcement, Attestation
from mlflow_ppo_flavor.registry.store import GuardMixin
from mlflow_ppo_flavor.registry.tables import HISTORY, VERDICTS
from tests.registry.model_folders import announce_value

Folders = dict[str, str]


def register(store: SqlAlchemyStore, folders: Folders, *kinds: str, model: str = "m") -> None:
    """Versions 1, 2, … of a model, of these kinds."""
    store.create_registered_model(model)
    for kind in kinds:
        store.create_model_version(model, folders[kind])


def announce(store: SqlAlchemyStore, told: Announcement) -> None:
    store.set_registered_model_tag(told.reference.model, RegisteredModelTag("ppo.announce", announce_value(told)))


def attest(store: SqlAlchemyStore, version: int, told: Attestation, model: str = "m") -> None:
    store.set_model_version_tag(model, version, ModelVersionTag("ppo.attest", canonical_json(told.to_dict()).decode()))


def digest_of(store: SqlAlchemyStore, version: int, model: str = "m") -> str:
    return str(store.get_model_version(model, version).tags["ppo.digest"])


def proof_of(store: SqlAlchemyStore, version: int, model: str = "m") -> str:
    """What a version's page shows of its proof: the tag, which the description repeats."""
    found = store.get_model_version(model, version)
    proof = str(found.tags["ppo.proof"])
    assert f"- **Proof** {proof}\n" in found.description
    return proof


def resolved(store: SqlAlchemyStore, label: str, model: str = "m") -> int | None:
    """What a reference loads, asked of MLflow."""
    try:
        if label.startswith("@"):
            return int(store.get_model_version_by_alias(model, label[1:]).version)
        return max((int(mv.version) for mv in store.get_latest_versions(model, [label])), default=None)
    except MlflowException:
        return None


def refused(call: Callable[[], Any]) -> MlflowException:
    with pytest.raises(MlflowException) as caught:
        call()
    assert caught.value.error_code == "RESOURCE_CONFLICT"
    assert caught.value.message.startswith("Refused: ")
    return caught.value


def rows(store: GuardMixin, model: str = "m") -> list[dict[str, Any]]:
    """The history of one model, oldest first; JSON columns as text."""
    with store.ManagedSessionMaker() as session:
        query = select(HISTORY).where(HISTORY.c.workspace == "default", HISTORY.c.model == model)
        return [dict(row) for row in session.execute(query.order_by(HISTORY.c.id)).mappings()]


def ask_model(store: SqlAlchemyStore, asked: Request, model: str = "m") -> None:
    """Put a request before the gate that is about a registered model."""
    store.set_registered_model_tag(model, RegisteredModelTag(asked.tag, asked.value))


def ask_version(store: SqlAlchemyStore, version: int, asked: Request, model: str = "m") -> None:
    """Put a request before the gate that is about a version."""
    store.set_model_version_tag(model, version, ModelVersionTag(asked.tag, asked.value))


def promote(store: SqlAlchemyStore, version: int, stage: str = "Production", *, archive: bool = False) -> None:
    store.transition_model_version_stage("m", version, stage, archive)


@contextmanager
def as_user(name: str) -> Iterator[None]:
    """A request of a user whom MLflow's basic-auth has authenticated: it says so in Flask's `g`."""
    with Flask("test").test_request_context():
        g.mlflow_authenticated_user = name
        yield


def verdicts(store: GuardMixin, label: str = "Production", model: str = "m") -> list[dict[str, Any]]:
    """What a reference was allowed to load, the first verdict first."""
    with store.ManagedSessionMaker() as session:
        query = select(VERDICTS).where(VERDICTS.c.model == model, VERDICTS.c.label == label)
        return [dict(row) for row in session.execute(query.order_by(VERDICTS.c.sequence)).mappings()]


def loaded(store: GuardMixin, label: str = "Production", model: str = "m") -> list[tuple[int, int | None]]:
    """(sequence, version) of each verdict."""
    return [(row["sequence"], row["version"]) for row in verdicts(store, label, model)]
