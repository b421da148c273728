"""Audit of artifacts: what lies there now is read again, each location once, and held against what was registered."""

import shutil
import sys
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import update

from mlflow_ppo_flavor.registry.store import GuardMixin
from mlflow_ppo_flavor.registry.tables import CONTRACTS
from tests.registry.auditing import audited
from tests.registry.filling import write_model
from tests.registry.model_folders import announcement, trained
from tests.registry.operating import announce, register


def test_a_changed_byte_is_told_with_its_file(desk: GuardMixin, models: dict[str, str]) -> None:
    weights = Path(models["2.6.0"]) / "policy.safetensors"
    weights.write_bytes(b"2.6.1")
    lines = audited(desk)
    assert list(lines) == ["m/Production"]
    assert lines["m/Production"][0].startswith(
        "[safety] file: Production, version 1, policy.safetensors: found sha256 "
    )
    weights.unlink()
    assert "policy.safetensors: found a file that can't be read: " in audited(desk)["m/Production"][0]


def test_a_good_copy_named_in_the_guards_own_row_hides_nothing(
    desk: GuardMixin, models: dict[str, str], tmp_path: Path
) -> None:
    copy = shutil.copytree(models["2.6.0"], tmp_path / "copy")
    with desk.engine.begin() as connection:
        connection.execute(update(CONTRACTS).where(CONTRACTS.c.version == 1).values(root=copy.as_uri()))
    (Path(models["2.6.0"]) / "policy.safetensors").write_bytes(b"2.6.1")
    assert audited(desk)["m/Production"][0].startswith(
        "[safety] file: Production, version 1, policy.safetensors: found sha256 "
    )


def test_an_mlmodel_that_says_something_else_is_told(desk: GuardMixin, models: dict[str, str]) -> None:
    path = Path(models["2.6.0"]) / "MLmodel"
    document = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**document, "utc_time_created": "later"}))
    assert audited(desk) == {}, "what MLflow adds beside the flavors is no change"
    document["flavors"]["python_function"]["loader_module"] = "os"
    path.write_text(yaml.safe_dump(document))
    assert audited(desk)["m/Production"] == [
        "[safety] digest: Production, version 1: found flavors.python_function.loader_module: found 'os', expected "
        f"mlflow_ppo_flavor.flavor, {desk.get_model_version('m', 1).tags['ppo.digest'][:12]}… was registered"
    ]
    path.unlink()
    assert audited(desk)["m/Production"][0].startswith(
        "[safety] unread: Production, version 1: found MLmodel can't be read: "
    )


def test_a_file_that_leads_out_of_the_folder_is_never_read(signed: GuardMixin, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "out", trained("2.7.0"))
    document = yaml.safe_load((folder / "MLmodel").read_text())
    document["flavors"]["ppo"]["files"]["../key.pem"] = "0" * 64
    (folder / "MLmodel").write_text(yaml.safe_dump(document))
    register(signed, {"out": str(folder)}, "out")
    signed.transition_model_version_stage("m", 1, "Production", False)
    assert any(
        "Production, version 1, ../key.pem: found a path that leads out of the model's folder" in line
        for line in audited(signed)["m/Production"]
    )


def test_a_location_is_read_once_however_many_share_it(signed: GuardMixin, models: dict[str, str]) -> None:
    """Five versions of one folder: Python tells each file that is opened."""
    register(signed, models, *["2.6.0"] * 5)
    for version in range(1, 6):
        announce(signed, announcement("m", f"@a{version}", version="2.6.0"))
        signed.set_registered_model_alias("m", f"a{version}", version)
    opened: list[str] = []
    listening = True

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == "open" and str(arguments[0]).endswith("MLmodel"):
            opened.append(str(arguments[0]))

    sys.addaudithook(hear)
    assert audited(signed) == {}
    listening = False
    assert opened == [str(Path(models["2.6.0"]) / "MLmodel")]
