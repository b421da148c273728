"""`/ppo/` over a real store, in this process: its JSON and headers, paging, and what it says where there is nothing."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from mlflow.entities import Workspace
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.exceptions import MlflowException
from mlflow.server import handlers, workspace_helpers
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.workspace.sqlalchemy_store import SqlAlchemyStore as WorkspaceStore
from mlflow.utils.workspace_context import WorkspaceContext

from mlflow_ppo_flavor.registry.page.access import Everybody
from mlflow_ppo_flavor.registry.page.routes import make_blueprint
from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from tests.registry import databases
from tests.registry.model_folders import announcement
from tests.registry.operating import announce, register

VERSIONS = 5_000


@pytest.fixture
def page(store: GuardMixin, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A client of the page over a guarded store."""
    return over(store, monkeypatch)


def over(store: SqlAlchemyStore, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setattr(handlers, "_model_registry_store", store)
    app = Flask(__name__)
    # as MLflow's own application does
    app.teardown_request(workspace_helpers.workspace_teardown_request_handler)
    app.register_blueprint(make_blueprint(Everybody()))
    return app.test_client()


def many(store: GuardMixin, model: str, versions: int) -> None:
    """More versions of a model than a test could register: copies of its first one in the database."""
    with sqlite3.connect(store.engine.url.database) as connection:
        for table, key in (("model_versions", "name"), ("ppo_contracts", "model")):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "version"]
            # only the first one is in a stage
            copied = ", ".join("'None'" if column == "current_stage" else column for column in columns)
            connection.execute(
                f"WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {versions}) "
                f"INSERT INTO {table} (version, {', '.join(columns)}) SELECT i, {copied} FROM {table}, n "
                f"WHERE {key} = ? AND version = 1",
                (model,),
            )


def numbers(model: dict[str, Any]) -> list[int]:
    return [row["version"] for row in model["rows"]]


def test_the_json_says_what_stands_and_what_happened(
    store: GuardMixin, page: FlaskClient, folders: dict[str, str]
) -> None:
    register(store, folders, "2.6.0", "2.7.0", model="desk")
    announce(store, announcement("desk", version="2.6.0"))
    store.transition_model_version_stage("desk", "1", "Production", False)
    with pytest.raises(MlflowException, match="Refused"):
        store.transition_model_version_stage("desk", "2", "Production", False)
    (model,) = page.get("/ppo/standing.json").json["models"]
    (reference,) = model["references"]
    assert (reference["label"], reference["loads"], reference["asks"]) == ("Production", 1, ["version findings block"])
    assert [(row["version"], row["cells"][0]["allowed"]) for row in model["rows"]] == [(2, False), (1, True)]
    assert {finding["code"] for finding in model["rows"][0]["cells"][0]["findings"]} == {"trader_version", "feature"}
    history = page.get("/ppo/history.json").json
    assert [(event["what"], event["allowed"]) for event in history["events"]] == [
        ("moving version 2 to Production", False),
        ("moving version 1 to Production", True),
        ("announcing trader live-1 (2.6.0) for Production", True),
    ]
    assert history["next"] is None
    assert page.get("/ppo/guard.json").json["guarded"] is True


def test_its_headers_forbid_what_it_does_not_need(page: FlaskClient) -> None:
    for path in ("", "standing.json", "static/page.js", "?page=x"):
        headers = page.get(f"/ppo/{path}").headers
        assert headers["Content-Security-Policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
        assert (headers["Cache-Control"] == "no-store") == (not path.startswith("static"))


def test_nothing_is_changed_there(page: FlaskClient) -> None:
    for path in ("", "standing.json", "history.json", "guard.json"):
        assert [page.open(f"/ppo/{path}", method=method).status_code for method in ("POST", "PUT", "DELETE")] == [
            405
        ] * 3


def test_what_cannot_be_read_is_told_in_words(page: FlaskClient) -> None:
    refused = page.get("/ppo/?page=0")
    assert (refused.status_code, "page: found &#39;0&#39;, expected a whole number from 1" in refused.text) == (
        400,
        True,
    )
    assert page.get("/ppo/history.json?before=-1").json == {
        "error": "before: found '-1', expected a whole number from 1"
    }


def test_where_there_is_nothing_the_page_says_so(store: GuardMixin, page: FlaskClient, folders: dict[str, str]) -> None:
    told = page.get("/ppo/").text
    assert "No guarded model yet. A model is guarded once a version of it has the ppo flavor" in told
    assert "Nothing was asked of a protected reference yet." in told
    register(store, folders, "2.6.0", model="quiet")
    told = " ".join(page.get("/ppo/").text.split())
    assert "no trader announced" in told
    assert "nobody: released trader 2.7.0 stands for them" in told
    assert "none yet" in told
    assert "No guarded model that you may read is called nobody." in page.get("/ppo/?name=nobody").text
    assert "There is 1 page only." in page.get("/ppo/?page=2").text


def test_thousands_of_versions_are_shown_page_by_page(
    store: GuardMixin, page: FlaskClient, folders: dict[str, str]
) -> None:
    register(store, folders, "2.6.0", model="tall")
    store.transition_model_version_stage("tall", "1", "Production", False)
    many(store, "tall", VERSIONS)
    (model,) = page.get("/ppo/standing.json?name=tall").json["models"]
    # what Production loads stands there, however old it is
    assert numbers(model) == [*range(VERSIONS, VERSIONS - 20, -1), 1]
    (older,) = page.get(f"/ppo/standing.json?name=tall&below={model['older']}").json["models"]
    assert numbers(older) == [*range(VERSIONS - 20, VERSIONS - 40, -1), 1]
    (last,) = page.get("/ppo/standing.json?name=tall&below=15").json["models"]
    assert (numbers(last), last["older"]) == ([*range(14, 0, -1)], None)
    (one_of_many,) = page.get("/ppo/standing.json").json["models"]
    assert numbers(one_of_many) == [*range(VERSIONS, VERSIONS - 5, -1), 1]
    assert len(page.get("/ppo/?name=tall").text) < 100_000


def test_many_models_and_events_are_paged(store: GuardMixin, page: FlaskClient, folders: dict[str, str]) -> None:
    made = [f"row-{i:02}" for i in range(10)]
    for name in (*made, "other"):
        register(store, folders, "2.6.0", model=name)
        for label in ("Production", "@a", "@b"):
            announce(store, announcement(name, label))
    first, second = (page.get(f"/ppo/standing.json?model=ROW-&page={i}").json for i in (1, 2))
    assert [model["name"] for model in first["models"] + second["models"]] == made
    assert (first["pages"], first["matching"]) == (2, 10)
    newest = page.get("/ppo/history.json?model=row-").json
    rest = page.get(f"/ppo/history.json?model=row-&before={newest['next']}").json
    events = newest["events"] + rest["events"]
    assert [event["id"] for event in events] == sorted((event["id"] for event in events), reverse=True)
    assert ({event["model"] for event in events}, len(events), rest["next"]) == (set(made), 30, None)
    told = page.get("/ppo/?model=row-").text
    assert "10 of 11 contain “row-”, page 1 of 2" in told
    assert 'href="/ppo/?model=row-&amp;page=2"' in told


def test_every_value_of_the_registry_is_escaped(store: GuardMixin, page: FlaskClient, folders: dict[str, str]) -> None:
    attack = "<script>alert(1)</script>".replace("/", "\\")
    register(store, folders, "2.6.0", model=attack)
    store.set_registered_model_alias(attack, "a", "1")
    announce(store, announcement(attack))
    store.transition_model_version_stage(attack, "1", "Production", False)
    for asked in ("", f"?name={attack}", f"?model={attack}", f"?workspace=&before={attack}"):
        told = page.get(f"/ppo/{asked}").text
        assert "<script>alert" not in told
        assert "&lt;script&gt;alert" in told


def test_a_plain_registry_is_told_how_to_be_guarded(
    plain: SqlAlchemyStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = over(plain, monkeypatch)
    told = page.get("/ppo/")
    assert told.status_code == 404
    assert "This server&#39;s registry isn&#39;t guarded: start it with mlflow-ppo server" in told.text
    assert "registry isn't guarded" in page.get("/ppo/standing.json").json["error"]


def test_each_workspace_has_a_page_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MLFLOW_ENABLE_WORKSPACES.name, "true")
    uri = databases.fresh(tmp_path)
    workspaces, store = WorkspaceStore(uri), open_store(f"ppo:{uri}")
    monkeypatch.setattr(workspace_helpers, "_workspace_store", workspaces)
    for name in ("one", "two"):
        workspaces.create_workspace(Workspace(name))
        with WorkspaceContext(name):
            store.create_registered_model(f"desk-{name}")
            announce(store, announcement(f"desk-{name}"))
    page = over(store, monkeypatch)
    for name in ("one", "two"):
        (model,) = page.get(f"/ppo/standing.json?workspace={name}").json["models"]
        assert model["name"] == f"desk-{name}"
        told = page.get(f"/ppo/?workspace={name}").text
        assert f'name="workspace" type="text" value="{name}"' in told
        assert f'href="/ppo/?workspace={name}&amp;name=desk-{name}"' in told
    missing = page.get("/ppo/standing.json?workspace=three")
    assert (missing.status_code, missing.json) == (404, {"error": "Workspace 'three' not found"})
    store.engine.dispose()
