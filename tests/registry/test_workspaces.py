"""With MLflow's workspaces on: contracts, announcements and history of one are no other's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.exceptions import MlflowException
from mlflow.utils.workspace_context import WorkspaceContext

from mlflow_ppo_flavor.registry.store import GuardedWorkspaceStore, GuardMixin, open_store
from mlflow_ppo_flavor.registry.tables import HISTORY
from tests.registry import databases
from tests.registry.model_folders import announce_value, announcement
from tests.registry.operating import announce, as_user, verdicts


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GuardMixin]:
    """A guarded store with workspaces."""
    monkeypatch.setenv(MLFLOW_ENABLE_WORKSPACES.name, "true")
    opened = open_store(f"ppo:{databases.fresh(tmp_path)}")
    assert isinstance(opened, GuardedWorkspaceStore)
    yield opened
    opened.engine.dispose()


def test_each_workspace_has_its_own_fleet_and_contracts(store: GuardMixin, folders: dict[str, str]) -> None:
    for workspace, kind in (("one", "2.7.0"), ("two", "2.7.0")):
        with WorkspaceContext(workspace):
            store.create_registered_model("m")
            store.create_model_version("m", folders[kind])
    told = RegisteredModelTag("ppo.announce", announce_value(announcement("m", version="2.6.0")))
    with WorkspaceContext("one"):
        store.set_registered_model_tag("m", told)
        with pytest.raises(MlflowException, match="trader live-1"):
            store.transition_model_version_stage("m", 1, "Production", False)
        assert "ppo.fleet" in store.get_registered_model("m").tags
    with WorkspaceContext("two"):
        store.transition_model_version_stage("m", 1, "Production", False)
        assert "ppo.fleet" not in store.get_registered_model("m").tags
        assert store.get_model_version("m", 1).tags["ppo.verdict"].endswith("as none announced")
    with store.engine.connect() as connection:
        told_of = {row.workspace for row in connection.execute(HISTORY.select())}
    assert told_of == {"one", "two"}


def test_verdicts_owners_and_reports_are_each_workspaces_own(store: GuardMixin, folders: dict[str, str]) -> None:
    for workspace, user in (("one", "ann"), ("two", "bob")):
        with WorkspaceContext(workspace), as_user(user):
            store.create_registered_model("m")
            store.create_model_version("m", folders["2.7.0"])
            announce(store, announcement("m"))
            store.transition_model_version_stage("m", 1, "Production", False)
            assert [row["who"] for row in store.report("history")["m"]["rows"]] == [user, user]
    assert [(row["workspace"], row["sequence"]) for row in verdicts(store)] == [("one", 1), ("two", 1)]
    with WorkspaceContext("one"), as_user("bob"), pytest.raises(MlflowException, match="belongs to ann"):
        announce(store, announcement("m", "Staging"))
