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

from mlflow_ppo_flavor.contract.request import Request, Retire, Rollback, Withdraw
from mlflow_ppo_flavor.registry.resolution import DeleteModel, Operation, Rename, SetAlias, Transition, moves
from mlflow_ppo_flavor.registry.store import GuardedWorkspaceStore, open_store
from tests import tiers
from tests.mlflow_state import pointed_at
from tests.registry import databases
from tests.registry.drivers import ClientDriver, Sources, StoreDriver, follow, populate, sources_of
from tests.registry.model_folders import announcement
from tests.registry.naive import operations
from tests.registry.sequences import EVERY_REFERENCE, NAMES, Ask, CreateModel, Register, Step, steps

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


def ask(model: str, *requests: Request) -> list[Step]:
    return [Ask(model, request) for request in requests]


def into(model: str, *versions: int, stage: str = "Production") -> list[Step]:
    return [Transition(model, version, stage, archive_existing=True) for version in versions]


BACK, OUT = Rollback("Production"), Withdraw("Production")
PASTS: dict[str, list[Step]] = {
    "further back each time, past what the fleet can't run": [
        *into("a", 1, 4, 5),
        *ask("a", BACK),
        announcement("a", version="2.6.0"),
        *ask("a", BACK, BACK, OUT, BACK, Retire("live-1", "Staging"), Retire("live-1"), OUT, BACK, OUT, OUT),
    ],
    "a withdrawal takes along what would surface": [
        *(Transition("a", version, "Production") for version in (1, 2, 4)),
        announcement("a", version="2.6.0"),
        *ask("a", OUT, OUT, BACK),
    ],
    "another reference must not load what its fleet can't run": [
        *(Transition("a", version, "Production") for version in (1, 4, 5)),
        *(Transition("a", version, "Staging") for version in (2, 4)),
        announcement("a", "Staging", version="2.6.0"),
        *ask("a", BACK),
    ],
    "Staging warns until a trader announces for it": [
        *into("b", 5),
        *into("b", 3, 5, stage="Staging"),
        announcement("b"),
        announcement("b", "Staging"),
        *ask("b", Rollback("Staging")),
        announcement("b", "Staging"),
        *into("b", 5, stage="Staging"),
        *ask("b", Rollback("Staging"), Retire("live-1", "Staging")),
        *into("b", 5, stage="Staging"),
        SetAlias("b", "champion", 5),
        announcement("b", "@champion"),
    ],
    "a model made anew has run nothing yet": [
        *into("a", 1, 2),
        DeleteModel("a"),
        *ask("a", BACK, OUT, Retire("live-1")),
        CreateModel("a"),
        *ask("a", BACK, OUT),
        Register("a", "2.6.0"),
        Register("a", "2.7.0"),
        *ask("a", BACK),
        *into("a", 2),
        *ask("a", BACK),
        *into("a", 1, 2),
        *ask("a", BACK, BACK),
    ],
    "an older version of the same number doesn't count": [
        *into("a", 2),
        DeleteModel("a"),
        CreateModel("a"),
        Register("a", "2.6.0"),
        Register("a", "2.7.0"),
        *into("a", 1, 2),
        *ask("a", BACK, BACK),
    ],
    "an alias that nobody loads any more": [
        announcement("a", "@champion"),
        *(SetAlias("a", "champion", version) for version in (1, 3, 2)),
        *ask("a", Rollback("@champion"), Retire("live-1")),
        SetAlias("a", "champion", 3),
        *ask("a", Rollback("@champion"), Withdraw("@champion")),
        DeleteModel("a"),
        CreateModel("a"),
        *(Register("a", kind) for kind in ("sklearn", "sklearn", "2.6.0")),
        *ask("a", Rollback("@champion")),
    ],
    "a renamed model takes its versions along, not its past": [
        *into("a", 1, 2),
        DeleteModel("b"),
        Rename("a", "b"),
        *ask("b", BACK),
        *into("b", 4),
        *ask("b", BACK),
        Rename("b", "a"),
        *ask("a", BACK),
    ],
    "what stood before the model was guarded, and is repeated": [
        *into("c", 1, stage="Staging"),
        SetAlias("c", "champion", 1),
        announcement("c", version="2.5.0"),
        *into("c", 1, 1, stage="Staging"),
        announcement("c", "@champion"),
        SetAlias("c", "champion", 1),
    ],
    "what isn't guarded": [
        *into("c", 1),
        *ask("c", BACK, OUT, Retire("live-1")),
        announcement("c", "@champion"),
        *ask("c", BACK, OUT, Retire("live-1"), OUT),
    ],
}


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


@pytest.mark.parametrize("past", PASTS)
def test_the_gate_goes_back_where_its_documents_say(place: Place, past: str) -> None:
    follow(StoreDriver(open_store(f"ppo:{place[0]}"), place[1]), PASTS[past])


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
