"""Random operations on MLflow's real SQL store: `resolution` predicts what MLflow then loads, and the gate holds.

Three ways: by the store's own methods, by MLflow's client of `ppo:sqlite:///…`, and with workspaces on.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient
from mlflow.utils.workspace_context import WorkspaceContext

from mlflow_ppo_flavor.registry.resolution import Operation, Transition, moves
from mlflow_ppo_flavor.registry.store import GuardedWorkspaceStore, open_store
from tests import tiers
from tests.mlflow_state import pointed_at
from tests.registry import databases
from tests.registry.drivers import ClientDriver, Sources, StoreDriver, follow, populate, sources_of
from tests.registry.model_folders import announcement
from tests.registry.naive import operations
from tests.registry.sequences import EVERY_REFERENCE, NAMES, Step, steps

WORKSPACE = "desk"


def sources(uri: str, folder: Path, folders: dict[str, str]) -> dict[str, list[str]]:
    """Each kind's source as a folder, below a run, and as a logged model; of the missing one as far as that goes."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("logged", artifact_location=(folder / "artifacts").as_uri())
    run = client.create_run(experiment).info.run_id

    def below_run(path: str) -> str:
        name = Path(path).name
        if Path(path).is_dir():
            client.log_artifacts(run, path, name)
        return f"runs:/{run}/{name}"

    def logged(path: str) -> str:
        made = client.create_logged_model(experiment, Path(path).name.replace(".", "-"), source_run_id=run)
        if Path(path).is_dir():
            client.log_model_artifacts(made.model_id, path)
        client.finalize_logged_model(made.model_id, "READY")
        return f"models:/{made.model_id}"

    return dict(sources_of(folders, str, below_run, logged))


class WorkspaceDriver(StoreDriver):
    """By the store's own methods, in a workspace of its own."""

    def __init__(self, store: SqlAlchemyStore, sources: Sources) -> None:
        super().__init__(store, sources)
        self.workspace = WORKSPACE

    def context(self) -> AbstractContextManager[Any]:
        return WorkspaceContext(WORKSPACE)


Place = tuple[str, dict[str, list[str]]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, str]) -> Iterator[Place]:
    """A database that this module's examples share, and the sources of every kind in it."""
    folder = tmp_path_factory.mktemp("random")
    uri = databases.fresh(folder)
    open_store(f"ppo:{uri}").engine.dispose()
    with pointed_at(uri, f"ppo:{uri}"):
        yield uri, sources(uri, folder, folders)


@settings(max_examples=tiers.COSTLY_EXAMPLES)
@given(steps=st.lists(operations(NAMES), min_size=4, max_size=12))
def test_prediction_equals_what_mlflow_then_loads(place: Place, steps: list[Operation]) -> None:
    driver = StoreDriver(SqlAlchemyStore(place[0]), place[1])
    world = populate(driver)
    for step in steps:
        predicted = moves(world.naive.models(), step, EVERY_REFERENCE)
        before = driver.loads()
        driver.attempt(step)
        after = driver.loads()
        assert {each: after[each] for each in EVERY_REFERENCE if after[each] != before[each]} == {
            move.reference: move.after and move.after.version for move in predicted
        }
        world.take(step)
        assert after == world.loads()
    driver.close()


@settings(max_examples=tiers.COSTLY_EXAMPLES)
@given(steps=steps)
def test_the_gate_holds_by_the_stores_own_methods(place: Place, steps: list[Step]) -> None:
    follow(StoreDriver(open_store(f"ppo:{place[0]}"), place[1]), steps)


@settings(max_examples=tiers.COSTLY_EXAMPLES)
@given(steps=steps)
def test_the_gate_holds_by_mlflows_client(place: Place, steps: list[Step]) -> None:
    follow(ClientDriver(place[0], place[1]), steps)


def test_the_same_check_fails_where_there_is_no_gate(place: Place) -> None:
    told = announcement("a", version="2.6.0")
    promoted: list[Step] = [told, Transition("a", 2, "Production")]
    with pytest.raises(AssertionError, match=r"Transition.*'done'"):
        follow(StoreDriver(SqlAlchemyStore(place[0]), place[1]), promoted)


@pytest.fixture
def workspaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MLFLOW_ENABLE_WORKSPACES.name, "true")


@settings(max_examples=tiers.COSTLY_EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_the_gate_holds_with_workspaces_on(workspaces: None, place: Place, steps: list[Step]) -> None:
    store = open_store(f"ppo:{place[0]}")
    assert isinstance(store, GuardedWorkspaceStore)
    follow(WorkspaceDriver(store, place[1]), steps)
