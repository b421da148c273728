"""Registering a model or a version: ruled on and written in one transaction, after what MLflow fetches."""

from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModelAlias
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import event, insert

from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.model_folders import announcement
from tests.registry.operating import Folders, announce, register, resolved, rows


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


def dangle(store: GuardMixin, alias: str, version: int) -> None:
    """An alias of a version that isn't there, as only somebody writes who goes round MLflow."""
    with store.ManagedSessionMaker(read_only=False) as session:
        row = {"workspace": "default", "name": "m", "alias": alias, "version": version}
        session.execute(insert(SqlRegisteredModelAlias), row)


@pytest.mark.parametrize("kind", ["2.6.0", "2.7.0", "sklearn", "missing"])
def test_a_version_that_an_alias_of_traders_waits_for_is_refused(
    store: GuardMixin, folders: Folders, kind: str
) -> None:
    register(store, folders, "2.6.0", "2.6.0")
    announce(store, announcement("m", "@champion", version="2.6.0"))
    dangle(store, "champion", 3)
    dangle(store, "canary", 3)
    with pytest.raises(MlflowException) as caught:
        store.create_model_version("m", folders[kind])
    assert caught.value.get_http_status_code() == 409
    assert caught.value.message.splitlines()[0] == (
        "Refused: m version 3 can't become @champion: an alias named it before it was there: delete the alias, then "
        "register"
    )
    assert '"kind":"create version"' in rows(store)[-1]["operation"]
    assert not rows(store)[-1]["allowed"]
    assert resolved(store, "@champion") is None
    store.delete_registered_model_alias("m", "champion")
    assert store.create_model_version("m", folders[kind]).version == 3
    assert resolved(store, "@canary") == 3


def test_an_alias_that_waits_for_another_number_or_nobody_protects_is_no_matter(
    store: GuardMixin, folders: Folders
) -> None:
    register(store, folders, "2.6.0")
    announce(store, announcement("m", "@champion", version="2.6.0"))
    dangle(store, "champion", 9)
    dangle(store, "canary", 2)
    assert store.create_model_version("m", folders["2.7.0"]).version == 2


def test_who_announces_for_an_alias_of_a_version_that_is_not_there_waits(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0")
    dangle(store, "champion", 9)
    announce(store, announcement("m", "@champion", version="2.6.0"))
    assert rows(store)[-1]["fact"] == "trader live-1 (2.6.0) announced for m@champion, which loads nothing yet"


def test_a_deleted_version_counts_where_the_next_number_is_told(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0", "2.6.0")
    announce(store, announcement("m", "@champion", version="2.6.0"))
    store.delete_model_version("m", 2)
    dangle(store, "champion", 2)
    assert store.create_model_version("m", folders["2.7.0"]).version == 3


def test_only_what_a_registration_writes_begins_its_transaction(store: GuardMixin) -> None:
    seen: list[str] = []

    def write() -> None:
        with store.ManagedSessionMaker(read_only=True):
            seen.append("read")
        with store.ManagedSessionMaker(read_only=False):
            seen.append("wrote")

    store.create_registered_model("m")
    event.listen(store.engine, "before_cursor_execute", lambda *told: seen.append(told[2]))
    store._guard.create_version("m", write)
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


def meanwhile(store: GuardMixin, monkeypatch: pytest.MonkeyPatch, do: Callable[[], Any]) -> None:
    """Let somebody else come in between a registration and what the gate writes of it."""
    learn = store._guard.learn

    def late(model: str, version: int) -> None:
        monkeypatch.setattr(store._guard, "learn", learn)
        do()
        learn(model, version)

    monkeypatch.setattr(store._guard, "learn", late)


def test_a_version_that_is_renamed_at_once_is_answered_as_it_was_made(
    store: GuardMixin, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create_registered_model("m")
    meanwhile(store, monkeypatch, lambda: store.rename_registered_model("m", "n"))
    made = store.create_model_version("m", folders["2.6.0"])
    assert (made.name, made.version, made.source) == ("m", 1, folders["2.6.0"])
    assert store.get_model_version("n", 1).source == folders["2.6.0"]


def test_a_version_is_not_answered_with_another_of_its_name_and_number(
    store: GuardMixin, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create_registered_model("m")

    def replace() -> None:
        store.delete_registered_model("m")
        register(store, folders, "2.7.0")

    meanwhile(store, monkeypatch, replace)
    assert store.create_model_version("m", folders["2.6.0"]).source == folders["2.6.0"]
    assert store.get_model_version("m", 1).source == folders["2.7.0"]


WRITES: dict[str, Callable[[SqlAlchemyStore, str], Any]] = {
    "create model": lambda store, text: store.create_registered_model("n", description=text),
    "update model": lambda store, text: store.update_registered_model("m", text),
    "create version": lambda store, text: store.create_model_version("m", "s3://b/m", description=text),
    "update version": lambda store, text: store.update_model_version("m", 1, text),
}


@pytest.mark.parametrize("write", WRITES)
def test_what_a_driver_cannot_write_is_told_as_mlflow_tells_it(
    store: GuardMixin, plain: SqlAlchemyStore, write: str
) -> None:
    told = []
    for each in (store, plain):
        each.create_registered_model("m")
        each.create_model_version("m", "s3://b/m")
        with pytest.raises(MlflowException) as caught:
            WRITES[write](each, "a\ud800b")
        told.append((caught.value.error_code, caught.value.message))
    assert told[0] == told[1]
    assert told[0][0] == "INTERNAL_ERROR"


def test_a_name_that_is_taken_is_looked_up_in_the_same_connection(store: GuardMixin) -> None:
    store.create_registered_model("m")
    out: list[int] = [0]
    event.listen(store.engine, "checkout", lambda *_: out.append(out[-1] + 1))
    event.listen(store.engine, "checkin", lambda *_: out.append(out[-1] - 1))
    with pytest.raises(MlflowException, match="already exists"):
        store.create_registered_model("m")
    assert (max(out), out[-1]) == (1, 0)
