"""save_model and load_model: sources, what is stored beside the policy, and what is refused."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
import yaml
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor import flavor
from mlflow_ppo_flavor.contract.releases import MODEL_SPECS
from mlflow_ppo_flavor.contract.vouch import Vouch
from mlflow_ppo_flavor.errors import CheckpointError, IncompatibleModel, IntegrityError, SpecError
from mlflow_ppo_flavor.model.checkpoint import Checkpoint
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.storage import read_model
from mlflow_ppo_flavor.version import VERSION
from tests.model.policies import SPEC, observations, policy_of, small_bars, small_golden, small_policy

OWN = f"mlflow-ppo-flavor[model]=={VERSION}"
MLFLOW = f"mlflow=={mlflow.__version__}"
SEEN = observations(SPEC, 4).numpy()


def mlmodel(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((folder / "MLmodel").read_text())
    return content


def same_policy(one: ActorCritic, other: ActorCritic) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return one.spec == other.spec and all(torch.equal(a, b) for a, b in pairs)


pytestmark = pytest.mark.filterwarnings("ignore:unproven")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a model is to be saved: not there yet."""
    return tmp_path / "model"


def test_it_makes_both_flavors_without_pickles(folder: Path) -> None:
    ppo.save_model(small_policy(), folder, golden=small_golden())
    assert sorted(path.name for path in folder.iterdir()) == [
        *("MLmodel", "conda.yaml", "golden.safetensors", "policy.safetensors"),
        *("python_env.yaml", "requirements.txt", "spec.json"),
    ]
    flavors = mlmodel(folder)["flavors"]
    assert sorted(flavors) == ["ppo", "python_function"]
    assert flavors["ppo"]["spec"] == SPEC.to_dict()
    assert flavors["ppo"]["architecture"] == {"class": "ActorCritic", "hidden_dims": [16, 8], "activation": "tanh"}
    assert flavors["python_function"]["loader_module"] == "mlflow_ppo_flavor.flavor"


def test_policy_checkpoint_and_path_save_the_same(tmp_path: Path) -> None:
    ppo.save_checkpoint(tmp_path / "c.pt", small_policy(), golden=small_golden())
    sources = {
        "policy": small_policy(),
        "checkpoint": ppo.load_checkpoint(tmp_path / "c.pt"),
        "path": tmp_path / "c.pt",
    }
    sources["text"] = str(tmp_path / "c.pt")
    entries = []
    for name, source in sources.items():
        ppo.save_model(source, tmp_path / name, golden=small_golden() if name == "policy" else None)
        assert same_policy(ppo.load_model(str(tmp_path / name)), small_policy())
        entries.append(mlmodel(tmp_path / name)["flavors"]["ppo"])
    assert all(entry == entries[0] for entry in entries)
    assert "golden.safetensors" in entries[0]["files"]


def test_golden_decisions_are_never_invented(folder: Path) -> None:
    message = (
        "unproven: found no golden decisions, traders with real money refuse it: "
        "give golden=ppo.record_golden(policy, bars) or vouch for it"
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$") as told:
        ppo.save_model(small_policy(), folder)
    assert [warning.filename for warning in told] == [__file__]
    assert not (folder / "golden.safetensors").exists()
    assert read_model(folder).golden is None


@pytest.mark.filterwarnings("error:unproven")
@pytest.mark.parametrize("golden", [None, small_golden()], ids=["unproven", "proven"])
def test_a_vouch_is_stored_inside_the_digest(tmp_path: Path, golden: Any) -> None:
    vouch = Vouch("trained by another team", "ann@example.com", "2026-01-05T10:00:00Z")
    ppo.save_model(small_policy(), tmp_path / "with", golden=golden, vouch=vouch)
    assert mlmodel(tmp_path / "with")["flavors"]["ppo"]["vouched"] == vouch.to_dict()
    stored = read_model(tmp_path / "with")
    assert stored.vouch == vouch
    ppo.save_model(small_policy(), tmp_path / "other", golden=golden, vouch=replace(vouch, by="bob"))
    assert read_model(tmp_path / "other").digest != stored.digest
    ppo.save_model(small_policy(), tmp_path / "without", golden=small_golden())
    assert read_model(tmp_path / "without").vouch is None
    assert "vouched" not in mlmodel(tmp_path / "without")["flavors"]["ppo"]


def test_golden_decisions_of_other_weights_are_refused(folder: Path) -> None:
    with pytest.raises(
        IncompatibleModel, match=r"refused, 48 finding\(s\)\n  \[safety\] golden.logit of HOLD at 2000-"
    ):
        ppo.save_model(policy_of(SPEC, seed=1), folder, golden=small_golden())
    assert not folder.exists()


def test_a_weak_proof_is_stored_with_a_warning(folder: Path) -> None:
    undecided = policy_of(SPEC)
    with torch.no_grad():
        undecided.actor.weight.zero_()
    with pytest.warns(
        UserWarning, match=r"^\[warning\] golden.margins: found 0 of 24 actions with a margin above 0.001"
    ):
        ppo.save_model(undecided, folder, golden=ppo.record_golden(undecided, small_bars()))
    assert read_model(folder).golden is not None


def test_golden_decisions_that_are_not_whole_are_refused(folder: Path) -> None:
    hidden = replace(small_golden(), margins=np.zeros_like(small_golden().margins))
    with pytest.raises(SpecError, match=r"^golden.margins\[0\]: found 0.0, expected 0.\d+, its case's largest logit"):
        ppo.save_model(small_policy(), folder, golden=hidden)
    assert not folder.exists()


def test_a_given_spec_completes_the_policys_own(folder: Path) -> None:
    template = MODEL_SPECS["2.3.0"]
    whole = template.for_bars(timeframe="1Hour", adjustment="split", symbols=["AAPL"])
    ppo.save_model(policy_of(template, hidden_dims=(2,)), folder, spec=whole)
    assert ppo.load_model(str(folder)).spec == whole


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        (small_policy, {"spec": MODEL_SPECS["2.3.0"]}, SpecError, "^spec: found "),
        (
            small_policy,
            {"code_paths": ["x.py"]},
            SpecError,
            r"^code_paths: found \['x.py'\], expected None: features and",
        ),
        (
            lambda: policy_of(MODEL_SPECS["2.3.0"], 0, (2,)),
            {"golden": small_golden()},
            SpecError,
            "^golden.spec: found ",
        ),
        (
            lambda: torch.nn.Linear(2, 2),
            {},
            SpecError,
            "^spec: found nothing, expected a ModelSpec: a torch.nn.modules.linear.Linear doesn't know what it was tra",
        ),
        (
            lambda: {"policy_state_dict": {}},
            {},
            SpecError,
            "^policy: found dict, expected an ActorCritic, another torch module, a Checkpoint or its path$",
        ),
        (lambda: "nowhere.pt", {}, CheckpointError, "^nowhere.pt: No such file or directory"),
        (
            lambda: Checkpoint("c", {"policy_state_dict": {}, "model_version": "2.6.0", "n_features": 59}),
            {},
            IncompatibleModel,
            r"\[safety\] n_features: found 59, spec 2.6.0 says 56",
        ),
        (small_policy, {"vouch": "me"}, SpecError, r"^vouch: found str, expected a Vouch\(reason, by, at\)$"),
        (
            small_policy,
            {"conda_env": "c.yaml", "pip_requirements": []},
            ValueError,
            "^Only one of `conda_env`, `pip_req",
        ),
    ],
)
def test_what_cannot_be_saved_is_told_before_anything_is_written(
    folder: Path, source: Callable[[], Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ppo.save_model(source(), folder, **options)
    assert not folder.exists()


def test_a_folder_with_something_in_it_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine").touch()
    with pytest.raises(MlflowException, match="already exists and is not empty"):
        ppo.save_model(small_policy(), folder)
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_the_default_signature_is_told_and_kept(folder: Path) -> None:
    ppo.save_model(small_policy(), folder)
    signature = Model.load(str(folder)).signature
    assert signature == flavor.default_signature(SPEC)
    assert signature.inputs == Schema([TensorSpec(np.dtype(np.float32), (-1, 24))])
    assert signature.outputs.input_names() == ["action", "meaning", "direction", "size", "probability", "value"]
    assert signature.params == ParamSchema(
        [ParamSpec("deterministic", "boolean", True), ParamSpec("seed", "long", None)]
    )
    table = mlflow.pyfunc.load_model(str(folder)).predict(SEEN)
    assert infer_signature(SEEN, table).outputs == signature.outputs


@pytest.mark.parametrize("given", [None, True, False, "own"])
@pytest.mark.parametrize("example", [None, SEEN[:1], (SEEN[:1], {"deterministic": False, "seed": 3})])
def test_signature_and_example(folder: Path, given: Any, example: Any) -> None:
    own = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 24))]))
    ppo.save_model(small_policy(), folder, signature=own if given == "own" else given, input_example=example)
    stored = Model.load(str(folder))
    expected = {None: flavor.default_signature(SPEC), True: flavor.default_signature(SPEC), False: None, "own": own}[
        given
    ]
    assert stored.signature == expected
    if example is None:
        assert stored.saved_input_example_info is None
    else:
        np.testing.assert_array_equal(stored.load_input_example(str(folder)), SEEN[:1])
        params = stored.load_input_example_params(str(folder))
        assert params == (example[1] if isinstance(example, tuple) else None)


def requirements(folder: Path) -> list[str]:
    """requirements.txt, which conda.yaml repeats."""
    lines = (folder / "requirements.txt").read_text().splitlines()
    conda = yaml.safe_load((folder / "conda.yaml").read_text())
    assert conda["dependencies"][-1]["pip"] == lines
    return lines


def test_it_requires_this_package_and_mlflow(folder: Path) -> None:
    ppo.save_model(small_policy(), folder)
    assert requirements(folder) == [MLFLOW, OWN]
    assert flavor.get_default_pip_requirements() == [OWN]
    assert flavor.get_default_conda_env()["dependencies"][-1] == {"pip": [MLFLOW, OWN]}
    env = yaml.safe_load((folder / "python_env.yaml").read_text())
    assert env["dependencies"] == ["-r requirements.txt"]


def test_requirements_as_list_file_and_constraints(tmp_path: Path) -> None:
    listed, constraints = tmp_path / "req.txt", tmp_path / "constraints.txt"
    listed.write_text("a\n# comment\nb==1.0\n")
    constraints.write_text("c<2")
    cases: dict[str, tuple[Any, list[str]]] = {
        "list": (["a", "b==1.0"], [MLFLOW, "a", "b==1.0"]),
        "file": (str(listed), [MLFLOW, "a", "b==1.0"]),
        "both": ([f"-r {listed}", "d"], [MLFLOW, "a", "b==1.0", "d"]),
        "constraints": (["d", f"-c {constraints}"], [MLFLOW, "d", "-c constraints.txt"]),
        "none": ([], [MLFLOW]),
    }
    for name, (given, expected) in cases.items():
        ppo.save_model(small_policy(), tmp_path / name, pip_requirements=given)
        assert requirements(tmp_path / name) == expected
    assert (tmp_path / "constraints" / "constraints.txt").read_text() == "c<2"


def test_extra_requirements_come_on_top(tmp_path: Path) -> None:
    listed, constraints = tmp_path / "req.txt", tmp_path / "constraints.txt"
    listed.write_text("acme-features==1.0")
    constraints.write_text("c<2")
    cases: dict[str, tuple[Any, list[str]]] = {
        "list": (["acme-features==1.0"], [MLFLOW, OWN, "acme-features==1.0"]),
        "file": (str(listed), [MLFLOW, OWN, "acme-features==1.0"]),
        "constraints": ([f"-c {constraints}"], [MLFLOW, OWN, "-c constraints.txt"]),
    }
    for name, (given, expected) in cases.items():
        ppo.save_model(small_policy(), tmp_path / name, extra_pip_requirements=given)
        assert requirements(tmp_path / name) == expected


def test_a_conda_environment_as_dict_and_file(tmp_path: Path) -> None:
    env = {
        "name": "mine",
        "channels": ["conda-forge"],
        "dependencies": ["python=3.12", "pip", {"pip": [MLFLOW, "x==1"]}],
    }
    (tmp_path / "env.yaml").write_text(yaml.safe_dump(env))
    for name, given in {"dict": env, "file": str(tmp_path / "env.yaml")}.items():
        ppo.save_model(small_policy(), tmp_path / name, conda_env=given)
        assert yaml.safe_load((tmp_path / name / "conda.yaml").read_text()) == env
        assert requirements(tmp_path / name) == [MLFLOW, "x==1"]


def test_metadata_is_kept_and_not_part_of_the_digest(tmp_path: Path) -> None:
    ppo.save_model(small_policy(), tmp_path / "with", metadata={"note": "mine"})
    ppo.save_model(small_policy(), tmp_path / "without")
    assert Model.load(str(tmp_path / "with")).metadata == {"note": "mine"}
    assert read_model(tmp_path / "with").digest == read_model(tmp_path / "without").digest


def test_the_flavor_can_be_added_to_a_model_of_the_callers(folder: Path) -> None:
    model = Model(metadata={"from": "caller"})
    ppo.save_model(small_policy(), folder, mlflow_model=model)
    assert model.metadata == {"from": "caller"}
    assert mlmodel(folder)["model_uuid"] == model.model_uuid
    assert mlmodel(folder)["model_size_bytes"] > 1_000


def test_the_loaded_policy_takes_flat_observations_and_windows(folder: Path) -> None:
    ppo.save_model(small_policy(), folder)
    policy = ppo.load_model(str(folder))
    flat = observations(SPEC, 3)
    for one, other in zip(policy(flat), policy(flat.reshape(3, SPEC.window, SPEC.n_features)), strict=True):
        assert torch.equal(one, other)
    assert not policy.training


def test_both_loaders_verify_the_files(folder: Path) -> None:
    ppo.save_model(small_policy(), folder)
    content = bytearray((folder / "policy.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "policy.safetensors").write_bytes(content)
    for load in (ppo.load_model, mlflow.pyfunc.load_model):
        with pytest.raises(IntegrityError, match=re.escape(f"{folder / 'policy.safetensors'}: found sha256 ")):
            load(str(folder))


def test_pyfunc_predicts_through_mlflows_own_checks(folder: Path) -> None:
    ppo.save_model(small_policy(), folder)
    model = mlflow.pyfunc.load_model(str(folder))
    drawn = {"deterministic": False, "seed": 5}
    assert list(model.predict(SEEN)["action"]) == small_policy()(torch.from_numpy(SEEN))[0].argmax(1).tolist()
    assert model.predict(SEEN, params=drawn).equals(model.predict(SEEN, params=drawn))
    assert isinstance(model.get_raw_model(), ActorCritic)
    for wrong in (SEEN.astype(np.float64), SEEN[:, 1:], SEEN.reshape(-1, 4, 6)):
        with pytest.raises(MlflowException):
            model.predict(wrong)
    with pytest.raises(MlflowException, match=r"Can not safely convert"):
        model.predict(SEEN, params={"seed": "x"})
    with pytest.raises(ppo.ObservationError, match=r"observations\[0, 0\]: found nan"):
        model.predict(np.full_like(SEEN, np.nan))


def test_a_model_config_changes_nothing(folder: Path) -> None:
    ppo.save_model(small_policy(), folder)
    plain = mlflow.pyfunc.load_model(str(folder))
    configured = mlflow.pyfunc.load_model(str(folder), model_config={"device": "cuda", "deterministic": False})
    assert configured.predict(SEEN).equals(plain.predict(SEEN))
