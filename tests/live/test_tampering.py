"""What is changed in a registered model afterwards is refused with its file's name, before mlflow.pyfunc sees it."""

import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

import live.model_source
import mlflow_ppo_flavor as ppo
from live.model_source import LoadedModel, ModelSource, RefusedModel
from live.seal_check import SealCheck
from live.verification import Verification, verify
from mlflow_ppo_flavor.contract.digest import file_sha256
from mlflow_ppo_flavor.errors import RegistryError
from mlflow_ppo_flavor.model.storage import GOLDEN
from tests import tiers
from tests.live.sealing import Signatory
from tests.live.trading import MODEL, Registry, golden_of, lively, source_of

LOADER = """
import pathlib
pathlib.Path({!r}).touch()
class Loaded:
    predict = None
def _load_pyfunc(path, model_config=None):
    return Loaded()
"""


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sound models with golden decisions, saved once."""
    folder = tmp_path_factory.mktemp("sound")
    for seed, name in enumerate(("one", "other")):
        ppo.save_model(lively(seed), folder / name, golden=golden_of(lively(seed)))
    return folder


@pytest.fixture
def model(registry: Registry, sound: Path, tmp_path: Path) -> Path:
    """The folder of version 1, registered through the gate while it was sound."""
    folder = tmp_path / "one"
    shutil.copytree(sound / "one", folder)
    client = MlflowClient()
    client.create_registered_model(MODEL)
    client.create_model_version(MODEL, str(folder))
    return folder


def refused(source: ModelSource | None = None) -> str:
    """Why version 1 is refused: one finding, of the files' integrity."""
    found = (source or source_of()).load(1)
    assert isinstance(found, RefusedModel)
    (finding,) = found.findings
    assert (finding.code, finding.kind) == ("integrity", "safety")
    return finding.message


def change_flavors(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = yaml.safe_load((folder / "MLmodel").read_text())
    change(content["flavors"])
    (folder / "MLmodel").write_text(yaml.safe_dump(content))


def no_digest(registry: Registry) -> None:
    """A registry without the gate: nobody read the digest at registration."""
    MlflowClient(registry.plain, registry.plain).delete_model_version_tag(MODEL, "1", "ppo.digest")


def test_the_sound_model_is_loaded(model: Path) -> None:
    found = source_of().load(1)
    assert isinstance(found, LoadedModel)
    assert found.verdict.findings == ()


@pytest.mark.parametrize("name", ["policy.safetensors", GOLDEN, "spec.json"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999999])
def test_one_changed_byte_of_any_listed_file_is_refused(model: Path, name: str, place: float) -> None:
    content = bytearray((model / name).read_bytes())
    content[int(len(content) * place)] ^= 1
    (model / name).write_bytes(content)
    assert re.search(rf"/{name}: found sha256 [0-9a-f]{{64}}, expected [0-9a-f]{{64}} as MLmodel lists", refused())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=tiers.SLOW_EXAMPLES, deadline=None)
@given(st.data())
def test_one_changed_byte_of_mlmodel_is_refused_or_is_outside_what_the_digest_covers(
    model: Path, sound: Path, data: st.DataObject
) -> None:
    """Outside are MLflow's own notes, such as the time of logging: they change nothing of a decision."""
    content = bytearray((sound / "one" / "MLmodel").read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    (model / "MLmodel").write_bytes(content)
    found = source_of().load(1)
    if isinstance(found, LoadedModel):
        assert found.digest == MlflowClient().get_model_version(MODEL, "1").tags["ppo.digest"]
        return
    assert all("MLmodel" in each.message or "flavors.ppo" in each.message for each in found.findings)


def test_another_sound_model_in_its_place_is_refused(model: Path, sound: Path) -> None:
    shutil.copytree(sound / "other", model, dirs_exist_ok=True)
    told = refused()
    assert re.search(r"found MLmodel: found digest [0-9a-f]{64}, expected [0-9a-f]{64} as the registry read it", told)
    assert "at registration: the model was changed since, don't trade it" in told


def test_another_sound_model_is_refused_by_the_seal_alone(model: Path, sound: Path, registry: Registry) -> None:
    """Also where the tag was replaced with it: the seal says the digest that the gate allowed."""
    signatory = Signatory()
    signatory.sign(digest=MlflowClient().get_model_version(MODEL, "1").tags["ppo.digest"])
    registry.force(1)
    no_digest(registry)
    sealed: SealCheck = signatory.check(required=False)
    assert isinstance(source_of(seals=sealed).load(1), LoadedModel)
    shutil.copytree(sound / "other", model, dirs_exist_ok=True)
    assert "found MLmodel: found digest " in refused(source_of(seals=sealed))
    assert isinstance(source_of().load(1), LoadedModel)


LOADERS = ["code/evil.py", "evil.py", "deep/er/evil.py", "evil.pkl", "evil.so", "other.safetensors", "policy.onnx"]


@pytest.mark.parametrize("name", LOADERS)
def test_a_loader_file_that_is_not_listed_is_refused(model: Path, name: str) -> None:
    (model / name).parent.mkdir(parents=True, exist_ok=True)
    (model / name).write_bytes(b"")
    shown = "code" if name.startswith("code") else name
    assert f"/{shown}: found a file that MLmodel doesn't list, expected no code there" in refused()


def test_another_loader_is_refused_and_never_imported(
    model: Path, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mlflow.pyfunc alone imports it, which is why the check comes first; also where no digest is known."""
    trace = tmp_path / "executed"
    (tmp_path / "evil_loader.py").write_text(LOADER.format(str(trace)))
    monkeypatch.syspath_prepend(tmp_path)
    change_flavors(model, lambda flavors: flavors["python_function"].update(loader_module="evil_loader"))
    expected = "/MLmodel: python_function: found the loader evil_loader, expected mlflow_ppo_flavor.flavor alone"
    assert expected in refused()
    no_digest(registry)
    assert expected in refused()
    assert not trace.exists()
    mlflow.pyfunc.load_model(f"models:/{MODEL}/1")
    assert trace.exists()


def test_a_code_folder_is_refused_and_never_imported(model: Path, registry: Registry, tmp_path: Path) -> None:
    """mlflow.pyfunc alone puts it before everything else that is imported."""
    (model / "code").mkdir()
    (model / "code" / "evil_code.py").write_text("")
    assert "/code: found a file that MLmodel doesn't list" in refused()
    change_flavors(model, lambda flavors: flavors["python_function"].update(code="code"))
    no_digest(registry)
    assert "/MLmodel: python_function: found the key code, expected mlflow_ppo_flavor.flavor alone" in refused()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda flavors: flavors.update(sklearn={"pickled_model": "model.pkl"}), "MLmodel: found digest "),
        (lambda flavors: flavors["python_function"].update(config={"a": 1}), "python_function: found the key config"),
        (lambda flavors: flavors["python_function"].update(data="code"), "python_function: found the key data"),
        (lambda flavors: flavors["python_function"].update(python_version="2.7"), "MLmodel: found digest "),
        (lambda flavors: flavors["ppo"]["spec"].update(notes="mine"), "spec.json: found another spec"),
    ],
)
def test_other_flavors_and_keys_are_refused(model: Path, change: Callable[[dict[str, Any]], object], told: str) -> None:
    change_flavors(model, change)
    assert told in refused()


def test_a_link_out_of_the_folder_is_not_followed(model: Path, sound: Path) -> None:
    """A local store fetches none; where one is in a copy, it is refused with its name."""
    for name in ("policy.safetensors", "notes.txt"):
        (model / name).unlink(missing_ok=True)
        (model / name).symlink_to(sound / "one" / "policy.safetensors")
        with pytest.raises(RegistryError, match="version 1: can't be downloaded: "):
            source_of().load(1)
        found = verify(model, None, source_of().trader, source_of().terms)
        (finding,) = found.verdict.findings
        assert finding.message.startswith(
            f"model: found {model / name}: found a link that leads out of the model, expected its own files"
        )
        (model / name).unlink()
        shutil.copy(sound / "one" / "policy.safetensors", model / "policy.safetensors")
    (model / "notes.txt").symlink_to(model / "spec.json")
    assert isinstance(source_of().load(1), LoadedModel)


def test_the_copy_that_is_checked_is_the_one_that_is_loaded_and_nobody_elses(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of this process' user alone: what lies in the store may be changed at any time."""
    seen: list[tuple[Path, int]] = []

    def look(root: Path, *rest: Any) -> Verification:
        folder = next(parent for parent in (root, *root.parents) if parent.name.startswith("mlflow-ppo-"))
        seen.append((root, stat.S_IMODE(folder.stat().st_mode)))
        return verify(root, *rest)

    monkeypatch.setattr(live.model_source, "verify", look)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert isinstance(source_of().load(1), LoadedModel)
    ((root, mode),) = seen
    assert mode == 0o700
    assert not root.is_relative_to(model)
    assert not root.exists()


@pytest.mark.parametrize("what", ["the store's folder", "its own copy"])
def test_a_model_that_is_swapped_between_check_and_load_is_not_traded(
    model: Path, sound: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The swap of the store's folder changes nothing any more; that of the copy, which only this user can, is told."""

    def look(root: Path, *rest: Any) -> Verification:
        found = verify(root, *rest)
        shutil.copytree(sound / "other", model if what == "the store's folder" else root, dirs_exist_ok=True)
        return found

    digest = MlflowClient().get_model_version(MODEL, "1").tags["ppo.digest"]
    monkeypatch.setattr(live.model_source, "verify", look)
    if what == "the store's folder":
        found = source_of().load(1)
        assert isinstance(found, LoadedModel)
        assert found.digest == digest
        return
    told = refused()
    assert re.search(rf"/MLmodel: found digest [0-9a-f]{{64}} when it was loaded, expected {digest} as it was", told)
    assert "somebody changes this trader's own files, don't trade" in told


def test_the_golden_file_is_part_of_what_is_checked(model: Path) -> None:
    """A listed file whose listing is changed with it: then the digest is another."""
    (model / GOLDEN).write_bytes((model / GOLDEN).read_bytes() + b"\0")
    change_flavors(model, lambda flavors: flavors["ppo"]["files"].update({GOLDEN: file_sha256(model / GOLDEN)}))
    assert isinstance(source_of().load(1), RefusedModel)
