"""The guarded store on a real database, each path beside MLflow's own store: what one refuses the other does."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient

from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from tests.registry.model_folders import announce_value, announcement
from tests.registry.operating import Folders, announce, refused, register, resolved, rows

OPERATIONS: dict[str, Callable[[SqlAlchemyStore], Any]] = {
    "transition in": lambda s: s.transition_model_version_stage("m", "2", "Production", False),
    "transition in, other case": lambda s: s.transition_model_version_stage("m", "2", "pRODUCTION", False),
    "transition in, version 02": lambda s: s.transition_model_version_stage("m", "02", "Production", False),
    "transition in, archiving": lambda s: s.transition_model_version_stage("m", "2", "Production", True),
    "alias": lambda s: s.set_registered_model_alias("m", "live", "2"),
    "alias, version 02": lambda s: s.set_registered_model_alias("m", "live", "02"),
    "another flavor": lambda s: s.transition_model_version_stage("m", "3", "Production", False),
    "unreadable": lambda s: s.transition_model_version_stage("m", "4", "Production", False),
}


@pytest.mark.parametrize("path", OPERATIONS)
def test_a_version_that_the_fleet_cannot_run_enters_by_no_path(
    path: str, store: GuardMixin, plain: SqlAlchemyStore, folders: Folders
) -> None:
    for each in (store, plain):
        register(each, folders, "2.6.0", "2.7.0", "sklearn", "missing")
    announce(store, announcement("m", version="2.6.0"))
    announce(store, announcement("m", "@live", version="2.6.0"))
    before = store.get_registered_model("m").last_updated_timestamp
    error = refused(lambda: OPERATIONS[path](store))
    assert error.json_kwargs["verdict"] == {"allowed": False, "strict": True}
    assert [f["kind"] for f in error.json_kwargs["findings"]].count("safety") >= 1
    assert resolved(store, "Production") is None
    assert resolved(store, "@live") is None
    assert store.get_registered_model("m").last_updated_timestamp == before
    OPERATIONS[path](plain)
    assert resolved(plain, "@live" if "alias" in path else "Production") is not None


BEYOND: dict[str, Callable[[SqlAlchemyStore, Any], Any]] = {
    "transition": lambda s, number: s.transition_model_version_stage("m", number, "Production", False),
    "alias": lambda s, number: s.set_registered_model_alias("m", "live", number),
    "tag": lambda s, number: s.set_model_version_tag("m", number, ModelVersionTag("mine", "1")),
    "request": lambda s, number: s.set_model_version_tag("m", number, ModelVersionTag("ppo.reverify", "{}")),
    "delete tag": lambda s, number: s.delete_model_version_tag("m", number, "mine"),
    "describe": lambda s, number: s.update_model_version("m", number, "text"),
    "delete": lambda s, number: s.delete_model_version("m", number),
}


@pytest.mark.parametrize("path", BEYOND)
def test_a_number_beyond_the_databases_integers_is_of_no_version(
    path: str, store: GuardMixin, plain: SqlAlchemyStore, folders: Folders
) -> None:
    """As MLflow says it of a number that nobody has; its own store fails at one that its database can't hold."""
    for each in (store, plain):
        register(each, folders, "2.6.0")
    with pytest.raises(MlflowException) as missing:
        BEYOND["tag" if path == "request" else path](plain, 99)
    for number in (99, 2**31, str(2**63), 10**100, -(2**63) - 1):
        with pytest.raises(MlflowException) as caught:
            BEYOND[path](store, number)
        assert caught.value.message == missing.value.message.replace("99", str(number))
        assert caught.value.get_http_status_code() == missing.value.get_http_status_code() == 404
    with pytest.raises(MlflowException, match="Python int too large to convert to SQLite INTEGER"):
        BEYOND["delete"](plain, 2**63)
    assert rows(store) == []


LEAVING: dict[str, Callable[[SqlAlchemyStore], Any]] = {
    "archived": lambda s: s.transition_model_version_stage("m", 3, "Archived", False),
    "moved to the other stage": lambda s: s.transition_model_version_stage("m", 3, "Staging", False),
    "deleted": lambda s: s.delete_model_version("m", "03"),
}


@pytest.mark.parametrize("path", LEAVING)
def test_a_version_may_not_leave_where_a_forbidden_one_would_surface(
    path: str, store: GuardMixin, plain: SqlAlchemyStore, folders: Folders
) -> None:
    for each in (store, plain):
        register(each, folders, "2.6.0", "2.7.0", "2.6.0")
        each.transition_model_version_stage("m", 2, "Production", False)
        each.transition_model_version_stage("m", 3, "Production", False)
    announce(store, announcement("m", version="2.6.0"))
    error = refused(lambda: LEAVING[path](store))
    assert "would make m version 2 Production: trader live-1 (2.6.0) can't run it" in error.message[:150]
    assert resolved(store, "Production") == 3
    LEAVING[path](plain)
    assert resolved(plain, "Production") == 2
    # never a dead end: the hidden version leaves first, then nothing surfaces
    store.transition_model_version_stage("m", 2, "Archived", False)
    LEAVING[path](store)
    assert resolved(store, "Production") is None


def test_renaming_into_a_name_that_traders_load(store: GuardMixin, plain: SqlAlchemyStore, folders: Folders) -> None:
    for each in (store, plain):
        register(each, folders, "2.7.0", model="new")
        each.transition_model_version_stage("new", 1, "Production", False)
        each.create_registered_model("m")
    announce(store, announcement("m", version="2.6.0"))
    for each in (store, plain):
        each.delete_registered_model("m")
    error = refused(lambda: store.rename_registered_model("new", "m"))
    assert error.message.startswith("Refused: renaming new to m would make m version 1 Production: trader live-1")
    assert resolved(store, "Production", "new") == 1
    plain.rename_registered_model("new", "m")
    assert resolved(plain, "Production") == 1


def test_a_rename_takes_contracts_along_and_leaves_traders_behind(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0", "2.7.0")
    announce(store, announcement("m", version="2.6.0"))
    store.rename_registered_model("m", "n")
    store.transition_model_version_stage("n", 2, "Production", False)
    assert store.get_model_version("n", 2).tags["ppo.verdict"].endswith("as none announced")
    assert "ppo.fleet" not in store.get_registered_model("n").tags


def test_archiving_in_the_same_call_makes_room_for_a_lower_version(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0", "2.6.0")
    store.transition_model_version_stage("m", 2, "Production", False)
    error = refused(lambda: store.transition_model_version_stage("m", 1, "Production", False))
    assert error.json_kwargs["findings"][0]["code"] == "without_effect"
    store.transition_model_version_stage("m", 2, "Production", False)
    store.transition_model_version_stage("m", 1, "Production", True)
    assert resolved(store, "Production") == 1
    store.transition_model_version_stage("m", 1, "Production", False)


def test_models_that_nobody_announced_for_and_without_the_flavor_pass_untouched(
    store: GuardMixin, plain: SqlAlchemyStore, folders: Folders
) -> None:
    seen, forged = [], "PPO policy of ours (written by mlflow-ppo)\nmy whole text"
    for each in (store, plain):
        register(each, folders, "sklearn", "sklearn")
        for version in (1, 2):
            each.transition_model_version_stage("m", version, "Production", False)
            each.update_model_version("m", version, "  mine\n\n")
        each.create_model_version("m", folders["sklearn"], description="  two spaces\n\n")
        each.create_model_version("m", folders["sklearn"], description=forged)
        each.transition_model_version_stage("m", 1, "Production", False)
        each.set_registered_model_alias("m", "live", 2)
        each.set_model_version_tag("m", 1, ModelVersionTag("a", "b"))
        seen.append(
            [
                (mv.version, mv.current_stage, mv.description, mv.tags, mv.aliases)
                for mv in (each.get_model_version("m", v) for v in (1, 2, 3, 4))
            ]
        )
    assert seen[0] == seen[1]
    assert rows(store) == []


def test_the_first_ppo_version_or_trader_makes_a_model_guarded(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "sklearn", "2.6.0")
    refused(lambda: store.transition_model_version_stage("m", 1, "Production", False))
    register(store, folders, "sklearn", model="n")
    store.transition_model_version_stage("n", 1, "Staging", False)
    announce(store, announcement("n"))
    refused(lambda: store.transition_model_version_stage("n", 1, "Production", False))
    store.transition_model_version_stage("n", 1, "Staging", False)
    store.transition_model_version_stage("n", 1, "None", False)


def test_a_prompt_tag_exempts_nothing(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.7.0")
    announce(store, announcement("m", version="2.6.0"))
    store.set_registered_model_tag("m", RegisteredModelTag(IS_PROMPT_TAG_KEY, "true"))
    store.create_model_version("m", "prompt-template", tags=[ModelVersionTag(IS_PROMPT_TAG_KEY, "true")])
    for version, reason in ((1, "trader live-1"), (2, "a prompt, no model")):
        error = refused(lambda v=version: store.transition_model_version_stage("m", v, "Production", False))
        assert reason in error.message


def test_prompts_are_registered_as_ever(store: GuardMixin) -> None:
    store.create_prompt("greeting")
    made = store.create_prompt_version("greeting", "hello {{name}}")
    store.set_prompt_alias("greeting", "live", made.version)
    assert store.get_prompt_version_by_alias("greeting", "live").template == "hello {{name}}"


def test_history_tells_when_who_what_moved_for_whom_and_why(store: GuardMixin, folders: Folders) -> None:
    register(store, folders, "2.6.0", "2.7.0")
    announce(store, announcement("m", version="2.6.0"))
    store.transition_model_version_stage("m", 1, "Production", False)
    refused(lambda: store.transition_model_version_stage("m", 2, "Production", False))
    store.transition_model_version_stage("m", 2, "Archived", False)
    told = rows(store)
    assert [json.loads(row["operation"])["kind"] for row in told] == ["announce", "transition", "transition"]
    assert [row["allowed"] for row in told] == [True, True, False]
    assert {row["who"] for row in told} == {"unauthenticated"}
    assert told[0]["at"] <= told[1]["at"] <= told[2]["at"]
    last = told[-1]
    assert json.loads(last["moves"]) == [
        {
            "reference": "m/Production",
            "before": {"model": "m", "version": 1},
            "after": {"model": "m", "version": 2},
        }
    ]
    assert json.loads(last["fleet"]) == [
        {"reference": "Production", "trader_id": "live-1", "version": "2.6.0", "paper": True}
    ]
    assert len(json.loads(last["findings"])) == 4
    assert json.loads(last["digests"]) == {"m/2": store.get_model_version("m", 2).tags["ppo.digest"]}
    assert last["fact"].startswith("Refused: m version 2 can't become Production")


def test_errors_of_mlflow_stay_what_they_are(store: GuardMixin, plain: SqlAlchemyStore, folders: Folders) -> None:
    calls: list[Callable[[SqlAlchemyStore], Any]] = [
        lambda s: s.transition_model_version_stage("m", "9", "Production", False),
        lambda s: s.transition_model_version_stage("m", "x", "Production", False),
        lambda s: s.transition_model_version_stage("m", 1, "Prod", False),
        lambda s: s.transition_model_version_stage("m", 1, "Archived", True),
        lambda s: s.transition_model_version_stage("nobody", 1, "Production", False),
        lambda s: s.set_registered_model_alias("m", "latest", 1),
        lambda s: s.set_registered_model_alias("m", "v1", 1),
        lambda s: s.set_registered_model_alias("m", "live", 9),
        lambda s: s.delete_registered_model_alias("nobody", "live"),
        lambda s: s.delete_model_version("m", 9),
        lambda s: s.delete_registered_model("nobody"),
        lambda s: s.rename_registered_model("m", "m2"),
        lambda s: s.rename_registered_model("m", "a/b"),
        lambda s: s.rename_registered_model("nobody", "n"),
        lambda s: s.create_registered_model("m"),
        lambda s: s.create_model_version("nobody", "/nowhere"),
        lambda s: s.update_model_version("m", 9, "text"),
        lambda s: s.get_registered_model("nobody"),
        lambda s: s.set_registered_model_tag("m", RegisteredModelTag(None, "x")),
        lambda s: s.set_model_version_tag("m", 1, ModelVersionTag(None, "x")),
        lambda s: s.delete_registered_model_tag("m", None),
        lambda s: s.create_registered_model("n", tags=[RegisteredModelTag(None, "x")]),
    ]
    told = []
    for each in (store, plain):
        register(each, folders, "2.6.0")
        each.create_registered_model("m2")
        texts = []
        for call in calls:
            with pytest.raises(MlflowException) as caught:
                call(each)
            texts.append((caught.value.error_code, caught.value.message.split("(Background")[0]))
        told.append(texts)
    assert told[0] == told[1]


def test_the_client_of_a_direct_uri_is_guarded_too(store: GuardMixin, folders: Folders) -> None:
    uri = str(store.engine.url)
    client = MlflowClient(tracking_uri=uri, registry_uri=f"ppo:{uri}")
    client.create_registered_model("m")
    for kind in ("2.6.0", "2.7.0"):
        client.create_model_version("m", folders[kind])
    client.set_registered_model_tag("m", "ppo.announce", announce_value(announcement("m", version="2.6.0")))
    refused(lambda: client.transition_model_version_stage("m", "2", "Production"))
    client.set_registered_model_alias("m", "champion", "2")
    assert client.get_model_version_by_alias("m", "champion").version == 2
    assert "live-1" in client.get_registered_model("m").tags["ppo.fleet"]
    plain = MlflowClient(tracking_uri=uri, registry_uri=uri)
    assert plain.transition_model_version_stage("m", "2", "Production").current_stage == "Production"


@pytest.mark.parametrize("uri", ["ppo:mysql://u@h/d", "ppo:mssql://u@h/d"])
def test_databases_that_the_gate_cannot_lock_are_refused(uri: str) -> None:
    with pytest.raises(MlflowException) as caught:
        open_store(uri)
    assert caught.value.message == (
        f"registry store: found {uri.partition('://')[0]}, expected one of ppo:sqlite, ppo:postgresql: "
        "the gate can't lock others"
    )
