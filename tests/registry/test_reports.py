"""The guard's answers to a search for `ppo.report`: one model each, paged by name, as MLflow's client reads them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient

from mlflow_ppo_flavor.contract.request import Question
from mlflow_ppo_flavor.registry.installation import standings
from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.model_folders import SKLEARN_FLAVORS, announcement, write_mlmodel
from tests.registry.operating import Folders, announce, refused, register


@pytest.fixture
def filled(store: GuardMixin, folders: Folders) -> GuardMixin:
    for model in ("c", "a", "b"):
        register(store, folders, "2.6.0", model=model)
        store.transition_model_version_stage(model, 1, "Production", False)
    register(store, folders, "sklearn", model="other")
    return store


def asked(store: SqlAlchemyStore, filter_string: str, most: int = 100, token: str | None = None) -> list[str]:
    return [each.name for each in store.search_registered_models(filter_string, most, page_token=token)]


def test_each_guarded_model_is_answered_under_its_name(filled: GuardMixin) -> None:
    found = filled.search_registered_models(Question("history").filter_string)
    assert [each.name for each in found] == ["a", "b", "c"]
    assert found.token is None
    told = json.loads(found[0].tags["ppo.report"])
    assert told == filled.report("history", "a")["a"]
    assert len(told["rows"]) == 1


def test_pages_as_mlflow_does(filled: GuardMixin) -> None:
    question = Question("history").filter_string
    first = filled.search_registered_models(question, max_results=2)
    assert [each.name for each in first] == ["a", "b"]
    assert asked(filled, question, 2, first.token) == ["c"]


def test_one_model_alone(filled: GuardMixin) -> None:
    assert asked(filled, f"name = 'b' AND {Question('history').filter_string}") == ["b"]
    assert asked(filled, f"name = 'other' AND {Question('history').filter_string}") == []
    assert filled.report("history", "nobody") == {}


def test_rows_of_the_history_make_no_model_a_guarded_one(store: GuardMixin, tmp_path: Path, folders: Folders) -> None:
    """A move into Production was refused while nobody could tell what the version is: it is plain after all."""
    folder = tmp_path / "late"
    register(store, {"late": str(folder)}, "late", model="fraud")
    refused(lambda: store.transition_model_version_stage("fraud", 1, "Production", archive_existing_versions=False))
    write_mlmodel(folder, SKLEARN_FLAVORS)
    store.transition_model_version_stage("fraud", 1, "Production", archive_existing_versions=False)
    register(store, folders, "2.6.0", model="mine")
    assert list(store.report("standing")) == list(store.report("verdict")) == ["mine"]
    assert "fraud" not in store.report("audit")
    assert [each.held.reference.model for each in standings(store, "default")] == []
    assert [row["allowed"] for row in store.report("history", "fraud")["fraud"]["rows"]] == [False]
    assert asked(store, f"name = 'fraud' AND {Question('history').filter_string}") == ["fraud"]


def test_what_ever_was_guarded_stands(policed: Callable[[dict[str, Any]], GuardMixin], folders: Folders) -> None:
    store = policed({"references": {"named/Production": {}}})
    for model in ("announced", "named", "plain", "used"):
        register(store, folders, "sklearn", model=model)
    announce(store, announcement("announced"))
    register(store, folders, "2.6.0", "sklearn", model="once")
    store.delete_model_version("once", 1)
    store.delete_registered_model("used")
    register(store, folders, "2.6.0", model="used")
    store.transition_model_version_stage("used", 1, "Production", archive_existing_versions=False)
    store.delete_registered_model("used")
    assert list(store.report("standing")) == ["announced", "named", "once", "used"]


def test_a_registry_says_that_it_is_guarded_and_another_says_nothing(
    filled: GuardMixin, plain: SqlAlchemyStore
) -> None:
    question = Question("guard").filter_string
    uri = str(filled.engine.url)
    guarded = MlflowClient(tracking_uri=uri, registry_uri=f"ppo:{uri}").search_registered_models(question)
    told = json.loads(guarded[0].tags["ppo.report"])
    assert guarded[0].name == "ppo"
    assert (told["guarded"], told["registry_id"], told["database"]) == (True, filled.setting.registry_id, "sqlite")
    assert asked(plain, question) == []


def test_other_searches_are_mlflows(filled: GuardMixin) -> None:
    assert asked(filled, "") == ["a", "b", "c", "other"]
    assert asked(filled, "name = 'ppo.report'") == []
    assert asked(filled, "tags.`team` = 'ppo.report'") == []


@pytest.mark.parametrize(
    ("filter_string", "message"),
    [
        ("tags.`ppo.report` = 'x'", "ppo.report: found 'x', expected one of guard, history, standing, audit, verdict"),
        (
            "tags.`ppo.report` != 'history'",
            "filter: found \"tags.`ppo.report` != 'history'\", expected tags.`ppo.report`",
        ),
        ("name LIKE 'a%' AND tags.`ppo.report` = 'history'", "filter: found "),
        ("tags.`a` = 'b' AND tags.`ppo.report` = 'history'", "filter: found "),
    ],
)
def test_what_is_no_question_is_refused(filled: GuardMixin, filter_string: str, message: str) -> None:
    with pytest.raises(MlflowException) as caught:
        filled.search_registered_models(filter_string)
    assert caught.value.message.startswith(message)
    assert caught.value.get_http_status_code() == 400
