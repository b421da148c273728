"""`ppo-file:` in this process: no write changes what is frozen, wherever its path really leads; all others pass."""

import asyncio
import contextlib
import inspect
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.store.artifact import artifact_repo
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from mlflow_ppo_flavor.registry.frozen import FrozenRepository
from mlflow_ppo_flavor.registry.store import GuardMixin
from tests.registry.freezing import (
    DESTINATION,
    PLACE,
    REFUSED,
    REGISTRY,
    files,
    model,
    put,
    register,
)
from tests.registry.model_folders import SKLEARN_FLAVORS, write_mlmodel
from tests.tiers import SLOW_EXAMPLES


async def _chunks() -> AsyncIterator[bytes]:
    yield b"evil"


def _local(tmp_path: Path, name: str) -> str:
    (tmp_path / "mine").mkdir(exist_ok=True)
    (tmp_path / "mine" / name).write_bytes(b"evil")
    return str(tmp_path / "mine" / name)


Write = Callable[[LocalArtifactRepository, Path, str], object]
# Each changes the file MLmodel in a folder, or removes it.
WRITES: dict[str, Write] = {
    "log_artifact": lambda repository, tmp, place: repository.log_artifact(_local(tmp, "MLmodel"), place),
    "log_artifacts": lambda repository, tmp, place: repository.log_artifacts(
        str(Path(_local(tmp, "MLmodel")).parent), place
    ),
    "log_artifact_from_stream": lambda repository, tmp, place: put(repository, f"{place}/MLmodel"),
    "log_artifact_from_async_stream": lambda repository, tmp, place: asyncio.run(
        repository.log_artifact_from_async_stream(_chunks(), "MLmodel", place)
    ),
    "delete_artifacts": lambda repository, tmp, place: repository.delete_artifacts(f"{place}/MLmodel"),
}
# These write by log_artifact, at the repository's root, or wait for it; all others read.
BY_LOG_ARTIFACT = {
    "upload_trace_data",
    "upload_archived_trace_data",
    "upload_archived_trace_data_bytes",
    "upload_attachment",
    "flush_async_logging",
}
READS = {
    "artifact_dir",
    "download_archived_trace_data",
    "download_artifacts",
    "download_trace_attachment",
    "download_trace_attachment_to_file",
    "download_trace_data",
    "download_trace_data_to_file",
    "get_local_path",
    "list_artifacts",
    "max_workers",
}


@pytest.mark.parametrize("how", WRITES)
def test_no_write_changes_a_registered_version(
    how: str, repository: LocalArtifactRepository, store: GuardMixin, art: Path, tmp_path: Path
) -> None:
    register(store, model(art / PLACE))
    before = files(art)
    with pytest.raises(MlflowException, match=REFUSED + f"{PLACE}/MLmodel can't be ") as refused:
        WRITES[how](repository, tmp_path, PLACE)
    assert refused.value.get_http_status_code() == 409
    assert refused.value.message.endswith("register another version, or delete this one first")
    assert refused.value.json_kwargs["findings"][0]["code"] == "frozen"
    assert files(art) == before
    WRITES[how](LocalArtifactRepository(str(art)), tmp_path, PLACE)
    assert files(art) != before


def test_every_public_method_of_a_repository_is_known_for_what_it_does() -> None:
    public = {name for name, _ in inspect.getmembers(FrozenRepository) if not name.startswith("_")}
    assert public == WRITES.keys() | BY_LOG_ARTIFACT | READS
    assert WRITES.keys() <= vars(FrozenRepository).keys()
    # it can't do these; where it could, MLflow's handlers would write by them
    for mixin in ("MultipartUploadMixin", "MultipartDownloadMixin", "PresignedUploadMixin"):
        assert not issubclass(FrozenRepository, getattr(artifact_repo, mixin))


@pytest.mark.parametrize("path", ["code/x.py", "loader.py", "policy.safetensors/x", "../policy/MLmodel", "./new", ""])
def test_nothing_is_added_to_a_registered_version(
    path: str, repository: LocalArtifactRepository, store: GuardMixin, art: Path
) -> None:
    register(store, model(art / PLACE))
    before = sorted(art.rglob("*"))
    where = os.path.normpath(f"{PLACE}/{path}")
    with pytest.raises(MlflowException, match=REFUSED):
        put(repository, where)
    assert sorted(art.rglob("*")) == before


@pytest.mark.parametrize("path", [PLACE, "0/run/artifacts", "0/run", "0", ".", None, f"{PLACE}/", "0/%72un", "0//run"])
def test_no_parent_of_a_registered_version_is_deleted(
    path: str | None, repository: LocalArtifactRepository, store: GuardMixin, art: Path
) -> None:
    register(store, model(art / PLACE))
    before = files(art)
    with pytest.raises(MlflowException, match=REFUSED + ".* can't be deleted"):
        repository.delete_artifacts(path)
    assert files(art) == before
    # of `.` itself only what it holds can be removed
    with contextlib.suppress(OSError):
        LocalArtifactRepository(str(art)).delete_artifacts(path)
    assert not art.exists() or files(art) == {}


def test_a_link_on_the_way_is_neither_replaced_nor_deleted(
    repository: LocalArtifactRepository, store: GuardMixin, art: Path, tmp_path: Path
) -> None:
    model(tmp_path / "disk" / PLACE)
    (art / "links").mkdir(parents=True)
    (art / "links" / "0").symlink_to(tmp_path / "disk" / "0")
    register(store, str(art / "links" / PLACE))
    for attack in (lambda: put(repository, "links/0"), lambda: repository.delete_artifacts("links")):
        with pytest.raises(MlflowException, match=REFUSED):
            attack()
    assert (art / "links" / PLACE / "MLmodel").is_file()
    LocalArtifactRepository(str(art)).delete_artifacts("links")
    assert not (art / "links").exists()


def test_a_link_to_a_registered_version_is_no_way_into_it(
    repository: LocalArtifactRepository, store: GuardMixin, art: Path
) -> None:
    model(art / PLACE)
    (art / "large").write_bytes(b"kept elsewhere")
    (art / PLACE / "inner").symlink_to(art / "large")
    register(store, str(art / PLACE))
    before = files(art / PLACE)
    (art / "alias").symlink_to(art / PLACE)
    (art / "one.txt").symlink_to(art / PLACE / "MLmodel")
    for path in ("alias/MLmodel", "alias/new.py", "alias/code/x.py", "alias/inner", "one.txt"):
        with pytest.raises(MlflowException, match=REFUSED):
            put(repository, path)
    for path in ("alias/MLmodel", "alias/inner", "one.txt"):
        with pytest.raises(MlflowException, match=REFUSED):
            repository.delete_artifacts(path)
    assert files(art / PLACE) == before


def test_a_hard_link_is_replaced_and_never_written_through(
    repository: LocalArtifactRepository, store: GuardMixin, art: Path, tmp_path: Path
) -> None:
    register(store, model(art / PLACE))
    before = files(art / PLACE)
    os.link(art / PLACE / "MLmodel", art / "MLmodel")
    mine = str(Path(_local(tmp_path, "MLmodel")).parent)
    repository.log_artifacts(mine)
    assert (art / "MLmodel").read_bytes() == b"evil"
    assert files(art / PLACE) == before
    os.link(art / PLACE / "MLmodel", art / "again")
    repository.delete_artifacts("again")
    assert files(art / PLACE) == before
    (art / "MLmodel").unlink()
    os.link(art / PLACE / "MLmodel", art / "MLmodel")
    LocalArtifactRepository(str(art)).log_artifacts(mine)
    assert files(art / PLACE) != before


def test_names_that_only_look_alike_are_other_files(
    repository: LocalArtifactRepository, store: GuardMixin, art: Path
) -> None:
    register(store, model(art / "0/run/artifacts/policé"))
    for path in (
        "0/RUN/artifacts/policé/MLmodel",
        "0/run/artifacts/polic\u0065\u0301/MLmodel",
        "0/run/artifacts/polic",
    ):
        put(repository, path)
        assert (art / path).read_bytes() == b"evil"
    with pytest.raises(MlflowException, match=r"^Refused: the artifacts of m version 1"):
        put(repository, "0/run/artifacts/policé/MLmodel")


def test_what_belongs_to_no_guarded_version_is_written_and_deleted(
    repository: LocalArtifactRepository, store: GuardMixin, art: Path
) -> None:
    register(store, model(art / PLACE))
    register(store, str(write_mlmodel(art / "sklearn", SKLEARN_FLAVORS)), "other")
    for path in ("0/run/artifacts/notes.txt", "0/run/artifacts/policy2/MLmodel", "sklearn/MLmodel", "1/new/a/b/c.txt"):
        put(repository, path, b"new")
        assert (art / path).read_bytes() == b"new"
    for path in ("0/run/artifacts/policy2", "sklearn", "1", "0/run/artifacts/notes.txt", "not/there"):
        repository.delete_artifacts(path)
        assert not (art / path).exists()


def test_reads_are_those_of_mlflow(repository: LocalArtifactRepository, store: GuardMixin, art: Path) -> None:
    register(store, model(art / PLACE))
    own = LocalArtifactRepository(str(art))
    assert repository.get_local_path(f"{PLACE}/MLmodel") == own.get_local_path(f"{PLACE}/MLmodel")
    assert [info.path for info in repository.list_artifacts(PLACE)] == [info.path for info in own.list_artifacts(PLACE)]
    assert Path(repository.download_artifacts(PLACE), "policy.safetensors").read_bytes() == b"weights"
    assert {name for name in vars(FrozenRepository) if not name.startswith("_")} == WRITES.keys()


@pytest.mark.parametrize(
    ("registry", "found"), [("sqlite:///x.db", "a registry that is not guarded"), ("", "no MLflow server")]
)
def test_without_a_guarded_registry_it_refuses_to_work(
    registry: str, found: str, art: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REGISTRY, registry)
    with pytest.raises(
        MlflowException, match=f"^artifacts: found {found}, expected an MLflow server started with --reg"
    ):
        get_artifact_repository(f"ppo-file://{art}")


@pytest.mark.parametrize(
    "uri", ["ppo-file://art/x", "ppo-file:art", "ppo-file:", "ppo-file:///art?x=1", "ppo-file:///a#b"]
)
def test_a_uri_is_an_absolute_folder(uri: str, art: Path) -> None:
    with pytest.raises(MlflowException, match=r"expected ppo-file:///an/absolute/folder, percent-encoded") as refused:
        get_artifact_repository(uri)
    assert refused.value.get_http_status_code() == 400


@pytest.mark.parametrize(
    "uri", ["ppo-file:///etc", "ppo-file://{art}/../x", "PPO-FILE://{art}x", "ppo-file://{art}/out"]
)
def test_it_leads_nowhere_but_into_the_destination(uri: str, art: Path, tmp_path: Path) -> None:
    art.mkdir()
    (art / "out").symlink_to(tmp_path)
    with pytest.raises(MlflowException, match=r"expected the folder of --artifacts-destination, with ppo-file:///, or"):
        get_artifact_repository(uri.format(art=art))


def test_spaces_and_signs_in_the_destination_are_percent_encoded(
    store: GuardMixin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    art = tmp_path / "my art%20 é"
    monkeypatch.setenv(REGISTRY, f"ppo:{store.engine.url}")
    monkeypatch.setenv(DESTINATION, f"ppo-file://{art.as_uri().removeprefix('file://')}")
    model(art / PLACE)
    register(store, (art / PLACE).as_uri())
    built = get_artifact_repository(os.environ[DESTINATION])
    assert built.artifact_dir == str(art)
    with pytest.raises(MlflowException, match=REFUSED):
        put(built, f"{PLACE}/x")  # type: ignore[arg-type]


NAMES = st.sampled_from(["0", "run", "policy", "MLmodel", "x", "alias", "way", "one", "hard", "..", "."])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
STEPS = st.lists(st.tuples(st.sampled_from(["put", "delete", "folder"]), PATHS), min_size=1, max_size=12)


@given(steps=STEPS)
@settings(max_examples=SLOW_EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_sequence_of_writes_changes_what_a_load_of_the_version_reads(
    steps: list[tuple[str, str]],
    repository: LocalArtifactRepository,
    store: GuardMixin,
    art: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Links of every kind lie about; whatever passes, the registered folder reads as before by its own path."""
    root = tmp_path_factory.mktemp("steps", numbered=True)
    name = root.name
    there = art / name
    disk = root / "disk"
    (disk / "run").mkdir(parents=True)
    there.mkdir(parents=True)
    (there / "0").symlink_to(disk)
    source = model(there / "0" / "run" / "policy")
    (there / "alias").symlink_to(there / "0" / "run" / "policy")
    (there / "way").symlink_to("0")
    (there / "one").symlink_to(there / "alias" / "MLmodel")
    os.link(Path(source) / "MLmodel", there / "hard")
    mine = root / "mine"
    write_mlmodel(mine, SKLEARN_FLAVORS)
    register(store, source, name)
    before = files(Path(source))
    for how, path in steps:
        where = os.path.normpath(f"{name}/{path}")
        try:
            if how == "put":
                put(repository, where)
            elif how == "delete":
                repository.delete_artifacts(f"{name}/{path}")
            else:
                repository.log_artifacts(str(mine), where)
        except (MlflowException, OSError):
            pass
        assert files(Path(source)) == before, (how, path)
