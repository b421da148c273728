"""Audit of folders: what lies beside a model's listed files is told as the trader that loads it refuses it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities import FileInfo
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from sqlalchemy import update

from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.errors import IntegrityError
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.storage import read_model, write_model
from mlflow_ppo_flavor.registry import reread
from mlflow_ppo_flavor.registry.listing import listing_findings
from mlflow_ppo_flavor.registry.store import GuardMixin
from mlflow_ppo_flavor.registry.tables import CONTRACTS
from tests.registry import filling
from tests.registry.auditing import audited
from tests.registry.model_folders import trained, write_mlmodel

LISTED = ("policy.safetensors", "spec.json", "golden.safetensors")


class RemoteRepository(ArtifactRepository):
    """A store that answers as S3 does: files alone by their keys, listed below a prefix, folders where it asks."""

    def __init__(self, root: Path) -> None:
        super().__init__(root.as_uri())
        self._local = LocalArtifactRepository(root.as_uri())

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        raise NotImplementedError

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        raise NotImplementedError

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        return self._local.list_artifacts(path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        raise NotImplementedError


def faults(root: Path, *, remote: bool = False) -> list[Finding]:
    """What is wrong with the model in the folder `at/model` of a repository."""
    made = RemoteRepository(root) if remote else LocalArtifactRepository(root.as_uri())
    return list(listing_findings(made, "at/model", LISTED))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return filling.write_model(tmp_path / "at" / "model", trained("2.7.0"))


def put(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")

    return write


NAMES = ["loader.py", "code/x.txt", "deep/er/X.PY", "weights.PT2", "deep/a.pkl", "spec.json.so", "golden2.safetensors"]
HARMLESS = ["conda.yaml", "metadata/MLmodel", "notes/code/readme.md", "Code.txt", "pickle", ".py"]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that a trader reads."""
    root, spec = tmp_path_factory.mktemp("real"), trained("2.7.0")
    flavors = {"ppo": write_model(root, ActorCritic(spec), spec, None)}
    write_mlmodel(root, {**flavors, "python_function": {"loader_module": "mlflow_ppo_flavor.flavor"}})
    assert read_model(root).spec == spec
    return root


@pytest.mark.parametrize("name", [*NAMES, *HARMLESS])
def test_an_audit_names_what_a_trader_refuses_and_nothing_else(name: str, real: Path, tmp_path: Path) -> None:
    """One rule: the trader's own reading of the same folder says the same of each name; and so does any store."""
    folder = shutil.copytree(real, tmp_path / "at" / "model", copy_function=os.link)
    put(name)(folder)
    found = faults(tmp_path)
    assert faults(tmp_path, remote=True) == found
    if name in HARMLESS:
        assert found == []
        read_model(folder)
        return
    seen = "code" if name.startswith("code/") else name
    assert [each.message for each in found] == [
        f"{seen}: found a file that MLmodel doesn't list, no code there: a trader refuses it: "
        "look who put it there, then delete it"
    ]
    with pytest.raises(IntegrityError, match="found a file that MLmodel doesn't list, expected no code there"):
        read_model(folder)


def test_links_are_told(folder: Path, tmp_path: Path) -> None:
    """Those that lead out are refused by traders; whatever a link leads to can change."""
    (folder / "out").symlink_to("/etc")
    (folder / "in").symlink_to("spec.json")
    (folder / "round").symlink_to(".")
    (folder / "policy.safetensors").rename(tmp_path / "elsewhere")
    (folder / "policy.safetensors").symlink_to(tmp_path / "elsewhere")
    (folder / "code").symlink_to("spec.json")
    assert [
        (each.kind, each.code, f"{each.place}: found {each.found}, {each.expected}") for each in faults(tmp_path)
    ] == [
        ("safety", "unlisted", "code: found a file that MLmodel doesn't list, no code there: a trader refuses it"),
        ("warning", "link", "in: found a link, a file: what a link leads to can change"),
        (
            "safety",
            "link",
            "out: found a link that leads out of the model, its own files: a trader refuses it",
        ),
        (
            "safety",
            "link",
            "policy.safetensors: found a link that leads out of the model, its own files: a trader refuses it",
        ),
        ("warning", "link", "round: found a link, a file: what a link leads to can change"),
    ]


def test_an_added_file_beside_a_promoted_version_is_told_by_the_audit(desk: GuardMixin, models: dict[str, str]) -> None:
    folder = Path(models["2.6.0"])
    put("code/x.py")(folder)
    put("loader.py")(folder)
    (folder / "x").symlink_to("/etc/passwd")
    (folder / os.fsdecode(b"\xff\n.py")).write_bytes(b"")
    where = "[safety] unlisted: Production, version 1, "
    told = "found a file that MLmodel doesn't list, no code there: a trader refuses it"
    lines = audited(desk)
    assert lines == {
        "m/Production": [
            f"{where}code: {told}",
            f"{where}loader.py: {told}",
            "[safety] link: Production, version 1, x: found a link that leads out of the model, its own files: "
            "a trader refuses it",
            f"{where}\\udcff\n.py: {told}",
        ]
    }
    assert not desk.report("audit")["m"]["references"][1]["allowed"]


def test_a_folder_that_cant_be_listed_is_told(folder: Path, tmp_path: Path) -> None:
    """Nothing is taken for clean that nobody saw."""

    class Silent(RemoteRepository):
        def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
            raise PermissionError(f"AccessDenied: s3:ListBucket on {path}")

    assert [each.message for each in reread._strange(Silent(tmp_path), "at/model", {})] == [
        ": found a folder that can't be listed: AccessDenied: s3:ListBucket on at/model, a trader fetches it whole: "
        "let the server list it, then audit again"
    ]


def test_a_root_that_isnt_where_the_location_leads_is_told(
    desk: GuardMixin, models: dict[str, str], tmp_path: Path
) -> None:
    """It says what is frozen: a good copy named there would leave the files themselves to anybody."""
    copy = shutil.copytree(models["2.6.0"], tmp_path / "copy")
    with desk.engine.begin() as connection:
        connection.execute(update(CONTRACTS).where(CONTRACTS.c.version == 1).values(root=copy.as_uri()))
        connection.execute(update(CONTRACTS).where(CONTRACTS.c.version == 2).values(root="file:///%00"))
    assert audited(desk) == {
        "m/Production": [
            f"[safety] record_changed: Production, version 1: found the folder {copy.as_uri()}, its location leads to "
            f"{Path(models['2.6.0']).as_uri()}"
        ],
        "m@live": [
            "[safety] record_changed: @live, version 2: found the folder file:///%00, its location leads to "
            f"{Path(models['2.6.0b']).as_uri()}"
        ],
    }


def test_a_server_that_freezes_knows_a_folder_by_each_of_its_names(
    desk: GuardMixin, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`guard install`, which runs beside the server, names the same folder otherwise."""
    assert audited(desk) == {}
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", f"ppo-file://{tmp_path}")
    assert audited(desk) == {}
    with desk.engine.begin() as connection:
        connection.execute(update(CONTRACTS).where(CONTRACTS.c.version == 1).values(root="mlflow-artifacts:/2.6.0"))
        connection.execute(update(CONTRACTS).where(CONTRACTS.c.version == 2).values(root="mlflow-artifacts:/x"))
    assert audited(desk) == {
        "m@live": [
            "[safety] record_changed: @live, version 2: found the folder mlflow-artifacts:/x, its location leads to "
            "mlflow-artifacts:/2.6.0b"
        ]
    }
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", "")
    assert audited(desk) == {}, "a client doesn't know where the server's repository lies"
