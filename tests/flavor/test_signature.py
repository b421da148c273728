"""A signature that the spec's observations don't pass is refused where it is written: MLflow would refuse every one."""

from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

from mlflow_ppo_flavor import flavor
from mlflow_ppo_flavor.errors import ObservationError, SpecError
from tests.model.policies import SPEC, policy_of

FLOAT, N = np.dtype(np.float32), SPEC.obs_dim
SEEN = np.zeros((3, N), np.float32)
LEAVE_OUT = "leave signature out, the flavor writes it"


def of(dtype: str, *shape: int, name: str | None = None) -> ModelSignature:
    return ModelSignature(Schema([TensorSpec(np.dtype(dtype), shape, name)]))


def with_params(*params: ParamSpec) -> ModelSignature:
    return ModelSignature(Schema([TensorSpec(FLOAT, (-1, N))]), params=ParamSchema(list(params)))


REFUSED = {
    f"(-1, {N + 1}) float32": of("float32", -1, N + 1),
    f"(1, {N}) float32": of("float32", 1, N),
    f"(-1, {N}) float64": of("float64", -1, N),
    "(-1, 4, 6) float32": of("float32", -1, 4, 6),
    f"'seen': (-1, {N}) float32": of("float32", -1, N, name="seen"),
    "the column double (required)": ModelSignature(Schema([ColSpec("double")])),
}


@pytest.mark.parametrize("shown", REFUSED)
def test_inputs_that_cannot_take_the_observations_are_refused(shown: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with pytest.raises(SpecError) as caught:
        flavor.save_model(policy_of(SPEC), folder, signature=REFUSED[shown])
    assert str(caught.value) == f"signature.inputs: found {shown}, expected (-1, {N}) float32: {LEAVE_OUT}"
    assert not folder.exists()
    # what it would have come to
    flavor.save_model(policy_of(SPEC), folder)
    model = Model.load(str(folder))
    model.signature = REFUSED[shown]
    model.save(str(folder / "MLmodel"))
    with pytest.raises(
        (MlflowException, ObservationError), match=r"Failed to enforce schema of|found (DataFrame|dict),"
    ):
        mlflow.pyfunc.load_model(str(folder)).predict(SEEN)


@pytest.mark.parametrize(
    ("param", "told"),
    [
        (
            ParamSpec("temperature", "double", 1.0),
            "temperature: found 'temperature': double (default: 1.0), expected none but deterministic, seed",
        ),
        (
            ParamSpec("deterministic", "boolean", False),
            "deterministic: found 'deterministic': boolean (default: False), "
            "expected 'deterministic': boolean (default: True)",
        ),
    ],
)
def test_params_that_are_not_the_flavors_are_refused(param: ParamSpec, told: str, tmp_path: Path) -> None:
    """MLflow hands their defaults to the model: such as it doesn't know, or a draw by chance."""
    with pytest.raises(SpecError) as caught:
        flavor.save_model(policy_of(SPEC), tmp_path / "model", signature=with_params(param))
    assert str(caught.value) == f"signature.params.{told}: {LEAVE_OUT}"


def test_something_else_than_a_signature_is_refused(tmp_path: Path) -> None:
    told = f"^signature: found 'float32', expected a ModelSignature, True or False: {LEAVE_OUT}$"
    with pytest.raises(SpecError, match=told):
        flavor.save_model(policy_of(SPEC), tmp_path / "model", signature="float32")  # type: ignore[arg-type]


def test_a_given_models_own_signature_is_checked_too(tmp_path: Path) -> None:
    model = Model(signature=of("float32", -1, N + 1))
    with pytest.raises(SpecError, match=r"^signature\.inputs: found "):
        flavor.save_model(policy_of(SPEC), tmp_path / "model", mlflow_model=model, signature=False)


@pytest.mark.parametrize(
    "signature",
    [
        infer_signature(SEEN),
        of("float32", -1, -1),
        with_params(ParamSpec("deterministic", "boolean", True)),
        ModelSignature(outputs=Schema([ColSpec("long", "action")])),
    ],
)
def test_what_the_observations_pass_unchanged_is_kept(signature: ModelSignature, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    flavor.save_model(policy_of(SPEC), folder, signature=signature)
    assert Model.load(str(folder)).signature == signature
    plain = flavor.load_model(str(folder))
    table = mlflow.pyfunc.load_model(str(folder)).predict(SEEN)
    assert list(table["action"]) == [int(plain.infer(SEEN)[0].argmax(axis=1)[0])] * 3


def test_log_model_refuses_it_too_and_registers_nothing(registry: str) -> None:
    with pytest.raises(SpecError, match=r"^signature\.inputs: found \(-1, 7\) float32"):
        flavor.log_model(
            policy_of(SPEC), name="policy", registered_model_name="ppo-signed", signature=of("float32", -1, 7)
        )
    assert list(mlflow.MlflowClient().search_registered_models()) == []
