"""log_model: with and without a run, registered or not, and everything MLflow's own flavors pass on."""

from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model

import mlflow_ppo_flavor as ppo
from mlflow_ppo_flavor import flavor
from mlflow_ppo_flavor.contract.vouch import Vouch
from mlflow_ppo_flavor.errors import SpecError
from tests.model.policies import SPEC, observations, small_golden, small_policy

pytestmark = [pytest.mark.usefixtures("registry"), pytest.mark.filterwarnings("ignore:unproven")]
SEEN = observations(SPEC, 3).numpy()
EXPECTED = small_policy()(torch.from_numpy(SEEN))[0].argmax(1).tolist()


def actions(uri: str) -> list[int]:
    return list(mlflow.pyfunc.load_model(uri, suppress_warnings=True).predict(SEEN)["action"])


@pytest.mark.parametrize("in_run", [True, False])
@pytest.mark.parametrize("registered", [True, False])
def test_with_and_without_a_run_registered_or_not(in_run: bool, registered: bool) -> None:
    name = "ppo-test" if registered else None
    if in_run:
        mlflow.start_run()
    info = ppo.log_model(small_policy(), name="policy", golden=small_golden(), registered_model_name=name)
    assert (info.run_id is not None) == in_run
    assert info.registered_model_version == (1 if registered else None)
    uris = [info.model_uri]
    if in_run:
        uris.append(f"runs:/{info.run_id}/policy")
    if registered:
        MlflowClient().set_registered_model_alias("ppo-test", "champion", "1")
        uris += ["models:/ppo-test/1", "models:/ppo-test@champion", "models:/ppo-test/latest"]
    for uri in uris:
        assert actions(uri) == EXPECTED
        assert ppo.load_model(uri).spec == SPEC


def test_it_is_a_logged_model_of_this_flavor() -> None:
    info = ppo.log_model(small_policy(), name="policy")
    logged = MlflowClient().get_logged_model(info.model_id)
    assert logged.name == "policy"
    assert logged.status == "READY"
    assert sorted(info.flavors) == ["ppo", "python_function"]
    assert info.signature == flavor.default_signature(SPEC)


def test_a_checkpoint_brings_its_spec_and_golden_decisions(tmp_path: Path) -> None:
    ppo.save_checkpoint(tmp_path / "c.pt", small_policy(), golden=small_golden())
    info = ppo.log_model(str(tmp_path / "c.pt"), name="policy")
    assert info.flavors["ppo"]["spec"] == SPEC.to_dict()
    assert "golden.safetensors" in info.flavors["ppo"]["files"]


def test_a_vouch_is_logged() -> None:
    vouch = Vouch("trained by another team", "ann@example.com", "2026-01-05T10:00:00Z")
    info = ppo.log_model(small_policy(), name="policy", vouch=vouch)
    assert info.flavors["ppo"]["vouched"] == vouch.to_dict()


def test_params_tags_type_and_step() -> None:
    with mlflow.start_run() as run:
        mlflow.log_param("seed", 3)
        mlflow.log_metric("reward", 1.5, step=7)
        info = ppo.log_model(
            small_policy(),
            name="policy",
            params={"lr": 0.1},
            tags={"team": "a"},
            model_type="agent",
            step=7,
            registered_model_name="ppo-test",
        )
    logged = MlflowClient().get_logged_model(info.model_id)
    assert logged.params == {"lr": "0.1", "seed": "3"}
    assert logged.tags["team"] == "a"
    assert logged.model_type == "agent"
    assert logged.source_run_id == run.info.run_id
    assert [(metric.key, metric.value, metric.step) for metric in logged.metrics] == [("reward", 1.5, 7)]
    assert MlflowClient().get_model_version("ppo-test", "1").tags == {"team": "a"}
    assert MlflowClient().get_run(run.info.run_id).outputs.model_outputs[0].step == 7


def test_an_existing_logged_model_is_filled() -> None:
    logged = mlflow.initialize_logged_model(name="prepared")
    info = ppo.log_model(small_policy(), model_id=logged.model_id)
    assert info.model_id == logged.model_id
    assert actions(f"models:/{logged.model_id}") == EXPECTED


def test_metadata_and_example_are_logged() -> None:
    info = ppo.log_model(small_policy(), name="policy", metadata={"note": "mine"}, input_example=SEEN[:1])
    assert info.metadata == {"note": "mine"}
    loaded = mlflow.pyfunc.load_model(info.model_uri)
    assert list(loaded.predict(loaded.input_example)["action"]) == EXPECTED[:1]


def test_requirements_and_environment_are_logged() -> None:
    info = ppo.log_model(small_policy(), name="policy", extra_pip_requirements=["acme==1.0"])
    files = mlflow.pyfunc.get_model_dependencies(info.model_uri)
    assert [line.strip() for line in Path(files).read_text().splitlines()][1:] == [
        *(flavor.get_default_pip_requirements()),
        "acme==1.0",
    ]


def test_the_deprecated_word_for_the_name_works_as_in_mlflow() -> None:
    info = ppo.log_model(small_policy(), "policy")
    assert MlflowClient().get_logged_model(info.model_id).name == "policy"
    with pytest.raises(MlflowException, match="Both `artifact_path` \\(deprecated\\) and `name`"):
        ppo.log_model(small_policy(), "policy", name="policy")


def test_the_gates_own_tags_are_refused_before_anything_is_logged() -> None:
    message = r"^tags.ppo.digest: found a tag of the registry's gate, expected a name without ppo. before it$"
    with pytest.raises(SpecError, match=message):
        ppo.log_model(small_policy(), name="policy", tags={"ppo.digest": "x"})
    assert mlflow.search_logged_models(output_format="list") == []


@pytest.mark.parametrize("wrong", [{"code_paths": ["x"]}, {"spec": ppo.MODEL_SPECS["2.3.0"]}])
def test_what_is_refused_is_not_registered(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        ppo.log_model(small_policy(), name="policy", registered_model_name="ppo-test", **wrong)
    assert MlflowClient().search_registered_models() == []


def test_a_registered_model_waits_no_longer_than_told() -> None:
    info = ppo.log_model(small_policy(), name="policy", registered_model_name="ppo-test", await_registration_for=0)
    assert info.registered_model_version == 1


def test_load_model_downloads_where_it_is_told(tmp_path: Path) -> None:
    info = ppo.log_model(small_policy(), name="policy")
    (tmp_path / "copy").mkdir()
    assert ppo.load_model(info.model_uri, dst_path=str(tmp_path / "copy")).spec == SPEC
    assert list((tmp_path / "copy").rglob("policy.safetensors"))


def test_what_mlflow_does_not_find_is_mlflows_error() -> None:
    with pytest.raises(MlflowException, match="ppo-none"):
        ppo.load_model("models:/ppo-none/1")


def test_the_stored_model_is_what_mlflow_reads() -> None:
    info = ppo.log_model(small_policy(), name="policy", registered_model_name="ppo-test")
    stored = Model.load("models:/ppo-test/1")
    assert stored.model_id == info.model_id
    assert stored.get_params_schema() == info.signature.params
