"""Which versions' artifacts are frozen: from every kind of source, from registration to deletion, in every race."""

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities.workspace import Workspace, WorkspaceDeletionMode
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from mlflow.store.workspace.sqlalchemy_store import SqlAlchemyStore as WorkspaceStore
from mlflow.tracking import MlflowClient
from mlflow.utils.workspace_context import WorkspaceContext
from sqlalchemy import text

from mlflow_ppo_flavor.registry.store import GuardMixin, open_store
from mlflow_ppo_flavor.registry.write_lock import settle_writes, writing
from tests.registry.freezing import (
    DESTINATION,
    PLACE,
    REFUSED,
    REGISTRY,
    files,
    forget_folders,
    kept,
    model,
    put,
    register,
)


@pytest.mark.parametrize(
    "kind", ["plain path", "file:", "file: by a link", "ppo-file:", "runs:/", "models:/m-", "models:/other/1"]
)
def test_every_kind_of_source_is_frozen(
    kind: str, tracking: MlflowClient, store: GuardMixin, repository: LocalArtifactRepository, art: Path
) -> None:
    run = tracking.create_run(tracking.get_experiment_by_name("e").experiment_id)  # type: ignore[union-attr]
    logged = tracking.create_logged_model(run.info.experiment_id, "named", source_run_id=run.info.run_id)
    place = art / "1" / run.info.run_id / "artifacts" / "policy"
    if kind == "models:/m-":
        place = Path(logged.artifact_location.removeprefix("file://"))
    model(place)
    (art / "alias").symlink_to(place)
    sources = {
        "plain path": str(place),
        "file:": place.as_uri(),
        "file: by a link": (art / "alias").as_uri(),
        "ppo-file:": f"ppo-file://{place}",
        "runs:/": f"runs:/{run.info.run_id}/policy",
        "models:/m-": f"models:/{logged.model_id}",
        "models:/other/1": "models:/other/1",
    }
    if kind == "models:/other/1":
        register(store, str(place), "other")
    register(store, sources[kind])
    if kind == "models:/other/1":
        store.delete_registered_model("other")
    path = str(place.relative_to(art))
    for attack in (lambda: put(repository, f"{path}/MLmodel"), lambda: repository.delete_artifacts("1")):
        with pytest.raises(MlflowException, match=REFUSED):
            attack()
    assert kept(store) == [(f"mlflow-artifacts:/{path}", "")]


def test_of_a_run_both_folders_that_mlflow_loads_from_are_frozen(
    tracking: MlflowClient, store: GuardMixin, repository: LocalArtifactRepository, art: Path
) -> None:
    run = tracking.create_run(tracking.get_experiment_by_name("e").experiment_id)  # type: ignore[union-attr]
    logged = tracking.create_logged_model(run.info.experiment_id, "named", source_run_id=run.info.run_id)
    model(Path(logged.artifact_location.removeprefix("file://")))
    tracking.finalize_logged_model(logged.model_id, "READY")
    register(store, f"runs:/{run.info.run_id}/named")
    own, beside = f"1/models/{logged.model_id}/artifacts", f"1/{run.info.run_id}/artifacts/named"
    assert kept(store) == [(f"mlflow-artifacts:/{own}", f"mlflow-artifacts:/{beside}")]
    for path in (own, beside):
        with pytest.raises(MlflowException, match=REFUSED):
            put(repository, f"{path}/code/x.py")


def test_a_version_registered_by_a_client_of_the_database_is_frozen_in_the_server(
    store: GuardMixin, art: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = os.environ[DESTINATION]
    monkeypatch.delenv(DESTINATION)
    register(store, model(art / PLACE))
    assert kept(store) == [(f"file://{art / PLACE}", "")]
    monkeypatch.setenv(DESTINATION, destination)
    with pytest.raises(MlflowException, match=REFUSED):
        put(get_artifact_repository(destination), f"{PLACE}/x")  # type: ignore[arg-type]


def test_deleting_the_version_frees_its_artifacts_unless_another_has_them(
    repository: LocalArtifactRepository, store: GuardMixin, art: Path
) -> None:
    source = model(art / PLACE)
    register(store, source)
    register(store, source, "n")
    register(store, source, "n")
    with pytest.raises(MlflowException, match=r"^Refused: the artifacts of m version 1 \(and of 2 more\) are frozen"):
        put(repository, f"{PLACE}/x")
    store.delete_model_version("m", 1)
    store.rename_registered_model("n", "renamed")
    with pytest.raises(MlflowException, match=r"^Refused: the artifacts of renamed version 1 \(and of 1 more\)"):
        put(repository, f"{PLACE}/x")
    store.transition_model_version_stage("renamed", 2, "Archived", False)
    store.delete_model_version("renamed", 1)
    with pytest.raises(MlflowException, match=r"^Refused: the artifacts of renamed version 2 are frozen"):
        repository.delete_artifacts(PLACE)
    store.delete_registered_model("renamed")
    repository.delete_artifacts(PLACE)
    assert not (art / PLACE).exists()


class Registering(io.BytesIO):
    """An upload during which somebody registers a version."""

    def __init__(self, registration: Callable[[], object]) -> None:
        super().__init__(b"evil")
        self._registration: Callable[[], object] | None = registration

    def read(self, size: int | None = -1) -> bytes:
        if self._registration is not None:
            self._registration, registration = None, self._registration
            registration()
        return super().read(size)


def test_an_upload_that_a_registration_overtakes_is_refused_at_its_end(
    repository: LocalArtifactRepository, store: GuardMixin, art: Path
) -> None:
    source = model(art / PLACE)
    before = files(art)
    upload = Registering(lambda: register(store, source))
    with pytest.raises(MlflowException, match=REFUSED + f"{PLACE}/MLmodel can't be written"):
        repository.log_artifact_from_stream(upload, "MLmodel", PLACE)
    assert files(art) == before
    again = Registering(lambda: register(store, source))
    LocalArtifactRepository(str(art)).log_artifact_from_stream(again, "MLmodel", PLACE)
    assert (art / PLACE / "MLmodel").read_bytes() == b"evil"


def test_a_registration_waits_for_the_writes_that_did_not_see_it(store: GuardMixin, art: Path) -> None:
    source = model(art / PLACE)
    done: list[str] = []

    def registering() -> None:
        register(store, source)
        done.append("registered")

    with writing(), writing():
        thread = threading.Thread(target=registering)
        thread.start()
        while not kept(store):
            thread.join(0.05)
        thread.join(0.3)
        assert done == []
    thread.join(30)
    assert done == ["registered"]


def test_elsewhere_than_in_a_freezing_server_no_registration_waits(art: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DESTINATION, str(art))
    with writing():
        settle_writes()
    monkeypatch.delenv(DESTINATION)
    with writing():
        settle_writes()


def test_a_version_whose_folder_was_not_kept_is_found_at_the_first_write(
    repository: LocalArtifactRepository, store: GuardMixin, art: Path
) -> None:
    register(store, model(art / PLACE))
    forget_folders(store)
    with pytest.raises(MlflowException, match=REFUSED):
        put(repository, f"{PLACE}/x")
    assert kept(store) == [(f"mlflow-artifacts:/{PLACE}", "")]


def test_each_workspace_s_versions_are_frozen_for_all(
    tmp_path: Path, art: Path, repository: LocalArtifactRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MLFLOW_ENABLE_WORKSPACES.name, "true")
    store = open_store(os.environ[REGISTRY])
    for workspace in ("one", "two"):
        with WorkspaceContext(workspace):
            register(store, model(art / f"workspaces/{workspace}" / PLACE))
    forget_folders(store)
    for asking, owner in (("one", "two"), ("two", "one")):
        told = f"^Refused: the artifacts of m version 1 of workspace {owner} are frozen since it was registered: works"
        with WorkspaceContext(asking), pytest.raises(MlflowException, match=told):
            put(repository, f"workspaces/{owner}/{PLACE}/MLmodel")
    assert sorted(kept(store)) == [(f"mlflow-artifacts:/workspaces/{name}/{PLACE}", "") for name in ("one", "two")]
    store.engine.dispose()


def test_what_a_deleted_workspace_leaves_to_the_default_one_stays_frozen(
    art: Path, repository: LocalArtifactRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow moves the rows past the registry store, and the name of the workspace is free for another."""
    monkeypatch.setenv(MLFLOW_ENABLE_WORKSPACES.name, "true")
    store, workspaces = open_store(os.environ[REGISTRY]), WorkspaceStore(os.environ[REGISTRY].removeprefix("ppo:"))
    workspaces.create_workspace(Workspace("one"))
    with WorkspaceContext("one"):
        register(store, model(art / "workspaces/one" / PLACE))
    workspaces.delete_workspace("one", WorkspaceDeletionMode.SET_DEFAULT)
    workspaces.create_workspace(Workspace("one"))
    with WorkspaceContext("one"), pytest.raises(MlflowException, match=REFUSED):
        put(repository, f"workspaces/one/{PLACE}/MLmodel")
    with WorkspaceContext("default"):
        store.delete_model_version("m", 1)
    with WorkspaceContext("one"):
        put(repository, f"workspaces/one/{PLACE}/MLmodel")
    store.engine.dispose()


def test_nothing_is_written_while_a_folder_can_not_be_found(
    repository: LocalArtifactRepository, store: GuardMixin, art: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(store, model(art / PLACE))
    forget_folders(store)
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACTS_ONLY", "true")
    told = (
        r"^Refused: nothing can be written until it is known where m version 1 lies: this server has no tracking store"
    )
    for path in ("elsewhere.txt", f"{PLACE}/x"):
        with pytest.raises(MlflowException, match=told) as refused:
            put(repository, path)
        assert refused.value.get_http_status_code() == 409
    monkeypatch.delenv("_MLFLOW_SERVER_ARTIFACTS_ONLY")
    put(repository, "elsewhere.txt")


def test_a_version_whose_run_is_gone_for_good_lies_nowhere(
    tracking: MlflowClient,
    store: GuardMixin,
    repository: LocalArtifactRepository,
    art: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = tracking.create_run(tracking.get_experiment_by_name("e").experiment_id)  # type: ignore[union-attr]
    model(art / "1" / run.info.run_id / "artifacts" / "policy")
    register(store, f"runs:/{run.info.run_id}/policy")
    forget_folders(store)
    backend = TrackingStore(str(store.engine.url), art.as_uri())
    tracking.delete_run(run.info.run_id)
    backend._hard_delete_run(run.info.run_id)
    put(repository, "elsewhere.txt")
    assert "The artifacts of m version 1 aren't frozen: Run with id=" in caplog.text
    assert kept(store) == [(f"runs:/{run.info.run_id}/policy", "")]


def test_a_folder_of_many_links_is_judged_by_each(
    repository: LocalArtifactRepository, store: GuardMixin, art: Path, tmp_path: Path
) -> None:
    register(store, model(tmp_path / "disk" / PLACE))
    (art / "links").mkdir(parents=True)
    for number in range(300):
        (art / "links" / f"{number}").symlink_to(tmp_path / f"{number}")
    repository.delete_artifacts("links")
    assert not (art / "links").exists()
    (art / "links").mkdir()
    for number in range(300):
        (art / "links" / f"{number}").symlink_to(tmp_path / ("disk" if number == 234 else f"{number}"))
    with pytest.raises(MlflowException, match=REFUSED + "links can't be deleted"):
        repository.delete_artifacts("links")
    assert (art / "links" / "234" / PLACE / "MLmodel").is_file()


def test_one_write_asks_by_the_index(store: GuardMixin) -> None:
    how, expected = {
        "sqlite": ("EXPLAIN QUERY PLAN ", "USING INDEX ppo_contracts_{}"),
        # a table this small is read faster than its index
        "postgresql": ("SET enable_seqscan = off; EXPLAIN ", "Bitmap Index Scan on ppo_contracts_{}"),
    }[store.engine.dialect.name]
    asked = "SELECT model FROM ppo_contracts WHERE root IN ('a', 'b') OR beside IN ('a', 'b')"
    with store.engine.connect() as connection:
        plan = "\n".join(str(row) for row in connection.execute(text(how + asked)))
    assert expected.format("root") in plan
    assert expected.format("beside") in plan
