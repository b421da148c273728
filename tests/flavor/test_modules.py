"""Other people's torch modules: saved as ONNX, and then a model like any other, in and outside MLflow's own tools."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
import yaml
from mlflow.models import Model
from torch import nn

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor import flavor
from mlflow_ppo_flavor.contract.digest import sha256_hex
from mlflow_ppo_flavor.errors import IncompatibleModel, IntegrityError, MissingExtra, SpecError
from mlflow_ppo_flavor.model.golden import record_golden
from mlflow_ppo_flavor.model.onnx_policy import OnnxPolicy
from mlflow_ppo_flavor.model.replay import replay
from mlflow_ppo_flavor.model.storage import read_model
from tests.model.modules import actor_module, actor_policy, critic_policy
from tests.model.onnx_models import FLOAT, linear_model
from tests.model.policies import SPEC, observations, small_bars, small_golden

SEEN = observations(SPEC, 5).numpy()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module without a critic, with golden decisions that its export recorded."""
    root = tmp_path_factory.mktemp("module") / "model"
    ppo.save_model(actor_module(), root, spec=SPEC, golden=record_golden(actor_policy(), small_bars()))
    return root


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    root = tmp_path / "model"
    root.mkdir()
    for path in saved.iterdir():
        (root / path.name).write_bytes(path.read_bytes())
    return root


def replace_policy(root: Path, content: bytes) -> None:
    """Another policy.onnx, which MLmodel lists."""
    (root / "policy.onnx").write_bytes(content)
    change_entry(root, lambda entry: entry["files"].update({"policy.onnx": sha256_hex(content)}))


def change_entry(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = yaml.safe_load((root / "MLmodel").read_text())
    change(content["flavors"]["ppo"])
    (root / "MLmodel").write_text(yaml.safe_dump(content))


def test_it_is_stored_as_onnx_and_listed(saved: Path) -> None:
    assert not (saved / "policy.safetensors").exists()
    entry = Model.load(str(saved)).flavors["ppo"]
    assert entry["architecture"] == {"class": "Onnx"}
    assert entry["spec"] == SPEC.to_dict()
    assert sorted(entry["files"]) == ["golden.safetensors", "policy.onnx", "spec.json"]
    assert entry["files"]["policy.onnx"] == sha256_hex((saved / "policy.onnx").read_bytes())
    assert Model.load(str(saved)).signature == flavor.default_signature(SPEC)


def test_every_loader_decides_as_the_module(saved: Path) -> None:
    with torch.no_grad():
        expected = actor_module().eval()(torch.from_numpy(SEEN))
    actor_module().train()
    model = mlflow.pyfunc.load_model(str(saved))
    table = model.predict(SEEN)
    assert list(table["action"]) == expected.argmax(1).tolist()
    assert table["value"].isna().all()
    shares = torch.softmax(expected.double(), 1).max(1).values
    np.testing.assert_allclose(table["probability"], shares, rtol=1e-4)
    assert isinstance(model.get_raw_model(), OnnxPolicy)
    policy = ppo.load_model(str(saved))
    assert policy.spec == SPEC
    torch.testing.assert_close(policy(torch.from_numpy(SEEN))[0], expected, rtol=1e-5, atol=1e-5)


def test_its_golden_decisions_are_replayed(saved: Path) -> None:
    stored = read_model(saved)
    assert stored.golden is not None
    assert replay(stored.golden, stored.policy, stored.spec) == ()


def test_golden_decisions_of_another_policy_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IncompatibleModel, match=r"refused, 48 finding\(s\)\n  \[safety\] golden.logit of "):
        ppo.save_model(actor_policy(), tmp_path / "model", golden=small_golden())
    assert not (tmp_path / "model").exists()


@pytest.mark.filterwarnings("ignore:unproven")
def test_what_was_loaded_can_be_saved_again_and_given_golden_decisions(saved: Path, tmp_path: Path) -> None:
    policy = ppo.load_model(str(saved))
    ppo.save_model(policy, tmp_path / "again", golden=read_model(saved).golden)
    assert Model.load(str(tmp_path / "again")).flavors["ppo"] == Model.load(str(saved)).flavors["ppo"]
    ppo.save_model(critic_policy(), tmp_path / "critic")
    assert mlflow.pyfunc.load_model(str(tmp_path / "critic")).predict(SEEN)["value"].notna().all()


@pytest.mark.parametrize("spec", [None, "2.7.0"])
def test_without_a_spec_nothing_is_written(tmp_path: Path, spec: Any) -> None:
    with pytest.raises(SpecError, match=r"^spec: found (nothing|str), expected a ModelSpec"):
        ppo.save_model(nn.Linear(24, 4), tmp_path / "model", spec=spec)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("module", ["onnx", "onnxscript"])
def test_the_extra_is_named_where_it_is_missing(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    message = (
        "storing a torch.nn.modules.linear.Linear needs the module "
        f"{module}, which isn't installed: install mlflow-ppo-flavor[onnx]"
    )
    with pytest.raises(MissingExtra, match=f"^{re.escape(message)}$"):
        ppo.save_model(nn.Linear(24, 4), tmp_path / "model", spec=SPEC)


def test_one_changed_byte_is_told_by_its_file(folder: Path) -> None:
    content = bytearray((folder / "policy.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "policy.onnx").write_bytes(content)
    with pytest.raises(IntegrityError, match=f"^{re.escape(str(folder / 'policy.onnx'))}: found sha256 "):
        read_model(folder)


def test_a_listed_file_that_reaches_for_others_is_refused(folder: Path) -> None:
    model = linear_model()
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    replace_policy(folder, model.SerializeToString())
    message = f"{folder / 'policy.onnx'}: found a tensor in another file, expected every number in this one"
    with pytest.raises(IntegrityError, match=f"^{re.escape(message)}"):
        read_model(folder)


def test_a_policy_of_other_inputs_is_refused(folder: Path) -> None:
    replace_policy(folder, linear_model((("x", FLOAT, ["n", 24]),)).SerializeToString())
    message = f"{folder / 'policy.onnx'}.inputs: found x tensor(float)['n', 24], expected observations float32[n, 24]"
    with pytest.raises(IntegrityError, match=f"^{re.escape(message)}"):
        read_model(folder)


@pytest.mark.parametrize("name", ["policy.safetensors", "other.onnx", "policy.onnx"])
def test_policies_that_are_not_listed_are_refused(folder: Path, name: str) -> None:
    (folder / name).touch()
    change_entry(folder, lambda entry: entry["files"].pop(name, None))
    message = f"{folder / name}: found a file that MLmodel doesn't list, expected no code there"
    with pytest.raises(IntegrityError, match=f"^{re.escape(message)}"):
        read_model(folder)


ELSEWHERE = """
import sys, json, numpy as np
from pathlib import Path
from mlflow_ppo_flavor.model.inference import infer
from mlflow_ppo_flavor.model.storage import read_model
policy = read_model(Path(sys.argv[1])).policy
logits, _ = infer(policy, np.array(json.loads(sys.argv[2]), dtype=np.float32))
print(json.dumps([logits.tolist(), [name for name in ("onnx", "onnxscript", "tests") if name in sys.modules]]))
"""


def test_it_runs_where_neither_its_class_nor_the_extra_is(saved: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(saved), json.dumps(SEEN.tolist())],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    logits, imported = json.loads(done.stdout)
    assert imported == []
    assert np.array_equal(np.array(logits, dtype=np.float32), read_model(saved).policy.infer(SEEN)[0])


@pytest.mark.usefixtures("registry")
def test_it_is_logged_and_registered_with_a_vouch() -> None:
    vouch = ppo.Vouch("theirs, in paper trading since May", "ann@example.com", "2026-01-05T10:00:00Z")
    info = ppo.log_model(actor_policy(), name="policy", vouch=vouch, registered_model_name="ppo-theirs")
    assert info.flavors["ppo"]["vouched"] == vouch.to_dict()
    assert list(mlflow.pyfunc.load_model("models:/ppo-theirs/1").predict(SEEN).columns)[-1] == "value"
