"""No way round: every public method of MLflow's registry stores reads, is guarded, or can't touch what traders load."""

import ast
import inspect
import textwrap

import pytest
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore

from mlflow_ppo_flavor.registry.store import GuardedStore, GuardedWorkspaceStore, GuardMixin

GUARDED = {
    "create_model_version",
    "create_registered_model",
    "delete_model_version",
    "delete_model_version_tag",
    "delete_registered_model",
    "delete_registered_model_alias",
    "delete_registered_model_tag",
    "rename_registered_model",
    "set_model_version_tag",
    "set_registered_model_alias",
    "set_registered_model_tag",
    "transition_model_version_stage",
    "update_model_version",
    "update_registered_model",
}
# They change the registry by calling guarded methods of the same store, and open no session themselves.
COMPOSED = {
    "copy_model_version",
    "create_prompt",
    "create_prompt_version",
    "delete_prompt",
    "delete_prompt_alias",
    "delete_prompt_tag",
    "delete_prompt_version",
    "delete_prompt_version_tag",
    "link_prompt_version_to_model",
    "link_prompt_version_to_run",
    "link_prompts_to_trace",
    "set_prompt_alias",
    "set_prompt_tag",
    "set_prompt_version_tag",
}
READING = {
    "get_latest_versions",
    "get_model_version",
    "get_model_version_by_alias",
    "get_model_version_download_uri",
    "get_prompt",
    "get_prompt_version",
    "get_prompt_version_by_alias",
    "get_registered_model",
    "get_webhook",
    "list_webhooks",
    "list_webhooks_by_event",
    "search_model_versions",
    "search_prompt_versions",
    "search_prompts",
    "search_registered_models",
    "supports_workspaces",
}
# Webhooks are told after the commit, and move nothing.
HARMLESS = {"create_webhook", "delete_webhook", "test_webhook", "update_webhook"}
ANSWERED_BY_THE_GUARD = {"get_registered_model", "search_registered_models"}


def public(store: type) -> set[str]:
    found = {name for name, value in inspect.getmembers(store) if callable(value) or isinstance(value, property)}
    return {name for name in found if not name.startswith("_")} - {"ManagedSessionMaker"}


@pytest.mark.parametrize("store", [SqlAlchemyStore, WorkspaceAwareSqlAlchemyStore])
def test_every_method_of_mlflows_store_is_known(store: type) -> None:
    unclassified = public(store) - GUARDED - COMPOSED - READING - HARMLESS
    assert unclassified == set(), "guard these methods of MLflow's store, or say here why they need no guard"
    assert (GUARDED | COMPOSED | READING | HARMLESS) - public(store) == set()


@pytest.mark.parametrize("store", [GuardedStore, GuardedWorkspaceStore])
def test_the_guard_stands_before_each_method_that_changes_what_is_registered(store: type) -> None:
    own = {name for name in vars(GuardMixin) if not name.startswith("_")}
    assert own >= GUARDED | ANSWERED_BY_THE_GUARD
    for name in GUARDED:
        assert getattr(store, name) is vars(GuardMixin)[name], name
        assert getattr(SqlAlchemyStore, name) is not vars(GuardMixin)[name]


@pytest.mark.parametrize("name", sorted(COMPOSED))
def test_a_composed_method_writes_through_guarded_ones_alone(name: str) -> None:
    tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(SqlAlchemyStore, name))))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert "ManagedSessionMaker" not in used
    assert not {attr for attr in used if attr.startswith("Sql")}


def test_a_guarded_method_takes_what_mlflows_takes() -> None:
    for name in sorted(GUARDED | ANSWERED_BY_THE_GUARD):
        ours, theirs = (inspect.signature(getattr(kind, name)).parameters for kind in (GuardedStore, SqlAlchemyStore))
        assert list(ours) == list(theirs), name
        assert [p.default for p in ours.values()] == [p.default for p in theirs.values()], name
