"""What mlflow.pyfunc is handed: the verified files and flavors alone, in a folder of the trader's own; tried once."""

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
import yaml
from mlflow import MlflowClient

import mlflow_ppo_flavor as ppo
from live.loading import load_verified, try_out
from live.model_source import LoadedModel, RefusedModel
from mlflow_ppo_flavor.errors import RegistryError
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.storage import GOLDEN, read_model
from tests.live.trading import MODEL, SPEC, Registry, golden_of, lively, source_of
from tests.model.policies import policy_of

SEVEN = '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 7]}}]'
ZEROS = np.zeros(SPEC.obs_dim, np.float32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound model with golden decisions, saved once."""
    folder = tmp_path_factory.mktemp("saved") / "one"
    ppo.save_model(lively(), folder, golden=golden_of(lively()))
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(saved, tmp_path / "one"))


@pytest.fixture
def model(folder: Path, registry: Registry) -> Path:
    """The same, registered as version 1 through the gate while it was sound."""
    register(folder)
    return folder


def register(folder: Path) -> None:
    client = MlflowClient()
    client.create_registered_model(MODEL)
    client.create_model_version(MODEL, str(folder))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = yaml.safe_load((folder / "MLmodel").read_text())
    edit(content)
    (folder / "MLmodel").write_text(yaml.safe_dump(content))


def signed(inputs: str) -> Callable[[Path], object]:
    return lambda folder: change(folder, lambda content: content["signature"].update(inputs=inputs))


def recoded(folder: Path) -> None:
    (folder / "MLmodel").write_bytes((folder / "MLmodel").read_text().encode("utf-16"))


def requiring(line: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "requirements.txt").write_text(f"{line}\n")


UNCHECKED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a signature of 7 numbers": (signed(SEVEN), "MlflowException"),
    "a signature that is no JSON": (signed("junk"), "JSONDecodeError"),
    "an MLmodel in UTF-16": (recoded, "UnicodeDecodeError"),
    "unknown keys": (lambda folder: change(folder, lambda content: content.update(model_uuid=[1], junk=2)), ""),
    "requirements that require themselves": (requiring("-r requirements.txt"), "RecursionError"),
    # MLflow alone would read it for ever
    "requirements without an end": (requiring("-r /dev/zero"), ""),
}


@pytest.mark.parametrize("what", UNCHECKED)
def test_what_is_outside_the_digest_is_never_handed_to_mlflow(what: str, model: Path) -> None:
    """Changed after registration: the digest is the same, and so is every decision."""
    spoil, plainly = UNCHECKED[what]
    spoil(model)
    before = contents(model)
    found = source_of().load(1)
    assert isinstance(found, LoadedModel)
    assert found.choose(ZEROS).action == int(lively()(torch.from_numpy(ZEROS[None]))[0].argmax())
    assert contents(model) == before
    if plainly:
        with pytest.raises(Exception) as caught:  # noqa: PT011 MLflow raises anything: that is the point
            mlflow.pyfunc.load_model(str(model)).predict(ZEROS[None])
        assert type(caught.value).__name__ == plainly


def test_a_folder_of_its_own_holds_the_verified_files_and_flavors_alone(folder: Path, tmp_path: Path) -> None:
    stored, own, before = read_model(folder), tmp_path / "own", contents(folder)
    load_verified(folder, own, stored)
    listed = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]
    assert yaml.safe_load((own / "MLmodel").read_text()) == {"flavors": listed}
    assert {path.name for path in own.iterdir()} == {"MLmodel", *listed["ppo"]["files"]}
    assert (own / GOLDEN).stat().st_ino == (folder / GOLDEN).stat().st_ino
    assert contents(folder) == before


def test_where_there_are_no_hard_links_it_copies(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, _: Path) -> None:
        raise OSError(errno.EXDEV, "not on this file system", str(source))

    monkeypatch.setattr("os.link", fail)
    stored, own = read_model(folder), tmp_path / "own"
    assert try_out(load_verified(folder, own, stored), stored) == ()
    assert (own / GOLDEN).stat().st_ino != (folder / GOLDEN).stat().st_ino


def test_a_folder_that_cannot_be_made_is_no_fault_of_the_models(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no refusal: nothing is sold for it, and the next look tries again."""
    monkeypatch.setattr("live.model_source._OWN", "nowhere/own")
    told = r"/nowhere/own: .*No such file or directory.*: look whether this machine has room for another copy$"
    with pytest.raises(RegistryError, match=told):
        source_of().load(1)


def test_a_listed_file_that_is_swapped_behind_the_check_is_not_loaded(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = mlflow.pyfunc.load_model

    def swapping(uri: str) -> object:
        (Path(uri) / "policy.safetensors").write_bytes(b"other weights")
        return load(uri)

    monkeypatch.setattr(mlflow.pyfunc, "load_model", swapping)
    found = source_of().load(1)
    assert isinstance(found, RefusedModel)
    assert "/own/policy.safetensors: found sha256 " in found.message


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (
            lambda flavors: flavors["python_function"].update(python_version=["3.11"]),
            "AttributeError: 'list' object has no",
        ),
        (lambda flavors: flavors.pop("python_function"), 'MlflowException: Model does not have the "python_function"'),
    ],
)
def test_whatever_a_library_raises_is_a_refusal_that_names_its_type(
    edit: Callable[[dict[str, Any]], object], told: str, folder: Path, registry: Registry
) -> None:
    """Within the digest: it was registered like this."""
    change(folder, lambda content: edit(content["flavors"]))
    register(folder)
    found = source_of().load(1)
    assert isinstance(found, RefusedModel)
    (finding,) = found.findings
    assert (finding.code, finding.kind) == ("unloadable", "safety")
    assert finding.message.startswith(f"model: found {told}")


def overflowing() -> ActorCritic:
    """Weights that are all finite, and logits that aren't, whatever is observed."""
    policy = policy_of(SPEC)
    with torch.no_grad():
        for layer in (layer for layer in policy.trunk.modules() if isinstance(layer, torch.nn.Linear)):
            layer.bias.fill_(5.0)
        policy.actor.weight.fill_(3e38)
    return policy


def test_a_model_that_cannot_decide_once_is_refused(registry: Registry) -> None:
    """Nothing was recorded that a replay could tell of it."""
    ppo.log_model(overflowing(), name="policy", registered_model_name=MODEL)
    found = source_of().load(1)
    assert isinstance(found, RefusedModel)
    assert [finding.code for finding in found.findings] == ["unproven", "first_decision"]
    inf = ", ".join(["inf"] * SPEC.n_actions)
    assert found.findings[1].message == (
        f"first_decision.logits: found [{inf}], expected finite numbers: "
        "don't trade it with this code: log it again, and look which packages are installed"
    )


def test_the_first_decision_is_held_against_the_recorded_one(folder: Path, tmp_path: Path) -> None:
    stored, other = read_model(folder), tmp_path / "other"
    assert try_out(load_verified(folder, tmp_path / "own", stored), stored) == ()
    ppo.save_model(lively(1), other, golden=golden_of(lively(1)))
    pyfunc = mlflow.pyfunc.load_model(str(other), suppress_warnings=True)
    told = [finding.message for finding in try_out(pyfunc, stored)]
    assert [line.partition(":")[0] for line in told] == ["first_decision.logits", "first_decision.value"]
    golden = golden_of(lively())
    assert all(f", expected as recorded [{golden.logits[0][0]}" in line for line in told[:1])
    # shapes are the spec's, also where nothing was recorded
    fewer = replace(SPEC, actions=SPEC.actions[:-1])
    ppo.save_model(policy_of(fewer), tmp_path / "fewer")
    smaller = mlflow.pyfunc.load_model(str(tmp_path / "fewer"), suppress_warnings=True)
    (finding,) = try_out(smaller, stored)
    n = SPEC.n_actions
    assert finding.message.startswith(f"first_decision.logits: found the shape (1, {n - 1}), expected (1, {n}): ")
