"""One text for each folder, whichever URI, link or spelling leads to it."""

import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from mlflow_ppo_flavor.cli.server import frozen as frozen_destination
from mlflow_ppo_flavor.registry.folders import (
    DESTINATION,
    destination,
    entry_path,
    file_uri,
    folder_of,
    freezes,
    links_below,
    proxied_folder,
    true_path,
    with_parents,
)

PROXIED = [
    "mlflow-artifacts:/0/run/artifacts/policy",
    "mlflow-artifacts:/0/run/artifacts/policy/",
    "mlflow-artifacts:///0/run//artifacts/./policy",
    "mlflow-artifacts://host:5000/0/run/artifacts/policy",
    "mlflow-artifacts:/0/run/artifacts/%70olicy",
    "mlflow-artifacts:/0/run/artifacts/%2570olicy",
    "http://host:5000/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts/policy",
    "https://host/prefix/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts/policy",
]


@pytest.mark.parametrize("uri", PROXIED)
@pytest.mark.parametrize("kept", ["", "s3://bucket/folder", "{folder}", "file://{folder}", "ppo-file://{folder}"])
def test_a_proxied_folder_has_one_text(uri: str, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DESTINATION, kept.format(folder=tmp_path))
    assert folder_of(uri) == "mlflow-artifacts:/0/run/artifacts/policy"
    assert freezes() == kept.startswith("ppo-file:")


@pytest.mark.parametrize(
    "uri", ["{root}/0/run", "file://{root}/0/run", "ppo-file://{root}/0/run", "{root}/../art/./0/run"]
)
def test_a_local_folder_is_named_from_the_destination_where_it_lies_in_it(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "art"
    root.mkdir()
    monkeypatch.delenv(DESTINATION, raising=False)
    assert destination() is None
    assert folder_of(uri.format(root=root)) == f"file://{root}/0/run"
    monkeypatch.setenv(DESTINATION, f"ppo-file://{root}")
    assert folder_of(uri.format(root=root)) == "mlflow-artifacts:/0/run"
    assert folder_of(str(root)) == "mlflow-artifacts:/"
    assert folder_of(f"{root}2") == f"file://{root}2"


def test_links_are_resolved_in_the_repository_and_out_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    art, disk = tmp_path / "art", tmp_path / "disk"
    (art / "0").mkdir(parents=True)
    disk.mkdir()
    (art / "1").symlink_to(disk)
    (art / "again").symlink_to("0")
    (tmp_path / "other").symlink_to(art)
    monkeypatch.setenv(DESTINATION, f"ppo-file://{tmp_path}/other")
    assert destination() == art
    assert proxied_folder("again/run") == "mlflow-artifacts:/0/run"
    assert folder_of(f"{tmp_path}/other/again/run") == "mlflow-artifacts:/0/run"
    assert proxied_folder("1/run") == f"file://{disk}/run"
    assert (entry_path(art / "again"), true_path(art / "again")) == (art / "again", art / "0")
    assert set(links_below(tmp_path)) == {art / "1", art / "again", tmp_path / "other"}


@pytest.mark.parametrize(
    ("text", "above"),
    [
        ("mlflow-artifacts:/0/run/a%20b", ["mlflow-artifacts:/0/run", "mlflow-artifacts:/0", "mlflow-artifacts:/"]),
        ("file:///a/b", ["file:///a", "file:///"]),
        ("file:///", ["file:///"]),
        ("mlflow-artifacts:/", ["mlflow-artifacts:/"]),
    ],
)
def test_the_folders_above_a_folder(text: str, above: list[str]) -> None:
    assert list(with_parents(text)) == [text, *above]


@pytest.mark.parametrize("uri", ["s3://bucket/a/b", "http://host/elsewhere", "gs://b/%41", "dbfs:/x"])
def test_other_stores_keep_their_uri(uri: str) -> None:
    assert folder_of(uri) == uri


@pytest.mark.parametrize(
    "uri", ["mlflow-artifacts:/../x", "mlflow-artifacts:/a/%252e%252e/b", "mlflow-artifacts:/a%23b"]
)
def test_a_path_that_mlflow_refuses_names_no_folder(uri: str) -> None:
    with pytest.raises(MlflowException, match="Invalid path"):
        folder_of(uri)


@given(name=st.text(st.sampled_from(string.ascii_letters + string.digits + " %?;&=+éß漢"), min_size=1, max_size=12))
def test_a_folder_is_found_again_by_its_uri(name: str) -> None:
    folder = Path("/an/absolute") / name
    frozen = frozen_destination(str(folder))
    assert file_uri(frozen) == folder.as_uri()
    assert folder_of(frozen) == folder_of(folder.as_uri())
    assert folder_of(folder_of(folder.as_uri())) == folder_of(folder.as_uri())


def test_names_are_told_apart_as_the_file_system_does(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("")
    assert true_path(tmp_path / "mlMODEL") == tmp_path / "mlMODEL"
    # both are listed and open the same file, as on a file system that tells them apart: neither is the other
    os.link(tmp_path / "MLmodel", tmp_path / "mlMODEL")
    assert true_path(tmp_path / "mlMODEL") == tmp_path / "mlMODEL"
    assert true_path(tmp_path / "MLmodel") == tmp_path / "MLmodel"
