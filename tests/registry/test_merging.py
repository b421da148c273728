"""Merging a workspace into the default one, over MLflow's own handler: refused while traders would load what comes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from mlflow.entities import Workspace
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.server import handlers, workspace_helpers
from mlflow.store.workspace.sqlalchemy_store import SqlAlchemyStore as WorkspaceStore
from mlflow.utils.workspace_context import WorkspaceContext

from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry.merging import guard_merging
from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from tests.registry import databases
from tests.registry.model_folders import announcement
from tests.registry.operating import Folders, announce, register, resolved

DELETE = "/api/3.0/mlflow/workspaces/two?mode="


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GuardMixin]:
    """A guarded store with a second workspace, and MLflow's server told of both."""
    monkeypatch.setenv(MLFLOW_ENABLE_WORKSPACES.name, "true")
    uri = databases.fresh(tmp_path)
    opened, workspaces = open_store(f"ppo:{uri}"), WorkspaceStore(uri)
    workspaces.create_workspace(Workspace("two"))
    monkeypatch.setattr(handlers, "_model_registry_store", opened)
    monkeypatch.setattr(workspace_helpers, "_workspace_store", workspaces)
    yield opened
    opened.engine.dispose()


def client(*, guarded: bool = True) -> FlaskClient:
    app = Flask(__name__)
    for path in ("/api/3.0/mlflow/workspaces/<workspace_name>", "/ajax-api/3.0/mlflow/workspaces/<workspace_name>"):
        app.add_url_rule(path, path, handlers._delete_workspace_handler, methods=["DELETE"])
    if guarded:
        guard_merging(app)
    return app.test_client()


def announced_then_gone(store: GuardMixin, told: Announcement) -> None:
    """A trader announced in the default workspace for a model that was deleted there since: it goes on loading it."""
    with WorkspaceContext("default"):
        store.create_registered_model("m")
        announce(store, told)
        store.delete_registered_model("m")


def promoted(store: GuardMixin, folders: Folders) -> None:
    with WorkspaceContext("two"):
        register(store, folders, "2.7.0")
        store.transition_model_version_stage("m", 1, "Production", False)
        store.set_registered_model_alias("m", "champion", 1)


@pytest.mark.parametrize("root", ["/api", "/ajax-api"])
def test_a_merge_that_fills_protected_references_is_refused(store: GuardMixin, folders: Folders, root: str) -> None:
    promoted(store, folders)
    announced_then_gone(store, announcement("m", "@champion", version="2.6.0"))
    path = f"{root}/3.0/mlflow/workspaces/two?mode=SET_DEFAULT"
    answer = client().delete(path)
    told: dict[str, Any] = answer.get_json()
    assert answer.status_code == 409
    assert told["message"].splitlines() == [
        "Refused: merging two would make m@champion load its version 1 unjudged",
        "[safety] m@champion: found version 1 in workspace two, nothing of another workspace enters m@champion "
        "unjudged: withdraw @champion in two, delete it then, and promote again in the default workspace",
        "[safety] m/Production: found version 1 in workspace two, nothing of another workspace enters m/Production "
        "unjudged: withdraw Production in two, delete it then, and promote again in the default workspace",
    ]
    with WorkspaceContext("two"):
        assert resolved(store, "Production") == 1
    assert client(guarded=False).delete(path).status_code == 204
    with WorkspaceContext("default"):
        assert resolved(store, "@champion") == 1


def test_a_merge_goes_on_once_nothing_stands_there(store: GuardMixin, folders: Folders) -> None:
    promoted(store, folders)
    with WorkspaceContext("two"):
        store.transition_model_version_stage("m", 1, "Archived", False)
    assert client().delete(f"{DELETE}SET_DEFAULT").status_code == 204
    with WorkspaceContext("default"):
        assert resolved(store, "@champion") == 1


def test_other_models_and_other_ways_to_delete_a_workspace_are_no_matter(store: GuardMixin, folders: Folders) -> None:
    with WorkspaceContext("two"):
        register(store, folders, "sklearn")
        store.transition_model_version_stage("m", 1, "Production", False)
    assert client().delete(f"{DELETE}RESTRICT").status_code != 409
    assert client().delete("/api/3.0/mlflow/workspaces/default?mode=SET_DEFAULT").status_code == 400
    assert client().delete(f"{DELETE}SET_DEFAULT").status_code == 204


def test_emptying_is_never_blocked(store: GuardMixin, folders: Folders) -> None:
    promoted(store, folders)
    assert client().delete(f"{DELETE}CASCADE").status_code == 204
