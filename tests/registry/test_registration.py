"""Registering a model or a version: ruled on and written in one transaction, after what MLflow fetches."""

from typing import Any

import pytest
from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import event

from mlflow_ppo_flavor.registry.resolution import CreateVersion, SetAlias
from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.model_folders import announcement
from tests.registry.operating import Folders, announce, register, rows


def written(store: GuardMixin, model: str, source: str) -> list[str]:
    """What a registration does to the database, from its start to the first commit, in order."""
    seen: list[str] = []

    def note(*told: Any) -> None:
        seen.append(" ".join(told[2].split()))

    def committed(_: Any) -> None:
        seen.append("COMMIT")

    event.listen(store.engine, "before_cursor_execute", note)
    event.listen(store.engine, "commit", committed)
    store.create_model_version(model, source)
    event.remove(store.engine, "before_cursor_execute", note)
    event.remove(store.engine, "commit", committed)
    first = next(i for i, statement in enumerate(seen) if statement.startswith("INSERT INTO model_versions"))
    return seen[: seen.index("COMMIT", first) + 1]


def first(statements: list[str], start: str) -> int:
    return next(i for i, statement in enumerate(statements) if statement.startswith(start))


def test_a_version_is_ruled_on_and_written_in_one_transaction_after_what_is_fetched(
    store: GuardMixin, folders: Folders
) -> None:
    register(store, folders, "2.6.0", model="other")
    register(store, folders, "2.6.0")
    did = written(store, "m", "models:/other/1")
    lock = max(i for i, statement in enumerate(did) if statement == "BEGIN IMMEDIATE" or "advisory" in statement)
    fetched = first(did, "SELECT model_versions.")
    ruled = first(did[lock:], "SELECT 'model' AS kind") + lock
    assert fetched < lock < ruled < first(did, "INSERT INTO model_versions")
    assert did[lock:].count("COMMIT") == 1


def test_an_operation_that_moves_a_reference_does_not_pass_as_a_registration(
    store: GuardMixin, folders: Folders
) -> None:
    register(store, folders, "2.6.0", "2.7.0")
    announce(store, announcement("m", "@champion", version="2.6.0"))
    before = rows(store)

    def write() -> None:
        with store.ManagedSessionMaker(read_only=False):
            pytest.fail("MLflow was let write")

    with pytest.raises(MlflowException, match=r"^Refused: the gate failed and nothing was changed: KeyError: "):
        store._guard.register(SetAlias("m", "champion", 2), write)
    assert rows(store) == before


def test_only_what_a_registration_writes_begins_its_transaction(store: GuardMixin) -> None:
    seen: list[str] = []

    def write() -> None:
        with store.ManagedSessionMaker(read_only=True):
            seen.append("read")
        with store.ManagedSessionMaker(read_only=False):
            seen.append("wrote")

    store.create_registered_model("m")
    event.listen(store.engine, "before_cursor_execute", lambda *told: seen.append(told[2]))
    store._guard.register(CreateVersion("m"), write)
    with store.ManagedSessionMaker(read_only=False):
        seen.append("wrote later")
    told = [each for each in seen if each.startswith(("read", "wrote", "BEGIN IMMEDIATE"))]
    assert told == ["read", "BEGIN IMMEDIATE", "wrote", "wrote later"]


@pytest.mark.parametrize("tags", [{}, {"mlflow.prompt.is_prompt": "true"}])
def test_a_name_that_is_taken_is_refused_in_mlflows_own_words(
    store: GuardMixin, plain: SqlAlchemyStore, tags: dict[str, str]
) -> None:
    told = []
    for each in (store, plain):
        each.create_registered_model("m", [RegisteredModelTag(*tag) for tag in tags.items()])
        with pytest.raises(MlflowException) as caught:
            each.create_registered_model("m")
        told.append((caught.value.error_code, caught.value.message))
        each.create_registered_model("n")
    assert told[0] == told[1]
    assert told[0][0] == "RESOURCE_ALREADY_EXISTS"


@pytest.mark.parametrize("missing", ["m", "", "a/b"])
def test_a_version_of_no_model_is_refused_in_mlflows_own_words(
    store: GuardMixin, plain: SqlAlchemyStore, folders: Folders, missing: str
) -> None:
    told = []
    for each in (store, plain):
        with pytest.raises(MlflowException) as caught:
            each.create_model_version(missing, folders["2.6.0"])
        told.append((caught.value.error_code, caught.value.message))
    assert told[0] == told[1]
    assert rows(store) == []
