"""The MLflow flavor `ppo`: save_model, log_model, load_model, and the loader that `mlflow.pyfunc` calls.

This module's name is stored in every model as its loader: it stays where it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import yaml
from mlflow.models import Model, ModelInputExample, ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.models.utils import _save_example
from mlflow.tracking._model_registry import DEFAULT_AWAIT_MAX_SLEEP_SECONDS
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.utils.environment import (
    _CONDA_ENV_FILE_NAME,
    _CONSTRAINTS_FILE_NAME,
    _PYTHON_ENV_FILE_NAME,
    _REQUIREMENTS_FILE_NAME,
    _mlflow_conda_env,
    _process_conda_env,
    _process_pip_requirements,
    _PythonEnv,
    _validate_env_arguments,
)
from mlflow.utils.file_utils import get_total_file_size
from mlflow.utils.model_utils import _validate_and_prepare_target_save_path

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.contract.vouch import Vouch
from mlflow_ppo_flavor.errors import SpecError
from mlflow_ppo_flavor.model.onnx_policy import OnnxPolicy
from mlflow_ppo_flavor.model.policy import ActorCritic
from mlflow_ppo_flavor.model.prediction import Predictor
from mlflow_ppo_flavor.model.proof import Golden
from mlflow_ppo_flavor.model.source import Source, resolve
from mlflow_ppo_flavor.model.storage import FLAVOR_NAME, LOADER_MODULE, MLMODEL, read_model, write_model
from mlflow_ppo_flavor.version import VERSION

__all__ = [
    "FLAVOR_NAME",
    "get_default_conda_env",
    "get_default_pip_requirements",
    "load_model",
    "log_model",
    "save_model",
]
RESERVED_TAGS = "ppo."
_LEAVE_OUT = "leave signature out, the flavor writes it"


def get_default_pip_requirements() -> list[str]:
    """What a logged model requires besides MLflow: this package with what runs models, in this version."""
    return [f"mlflow-ppo-flavor[model]=={VERSION}"]


def get_default_conda_env() -> dict[str, Any]:
    """The default conda environment of a logged model."""
    env: dict[str, Any] = _mlflow_conda_env(additional_pip_deps=get_default_pip_requirements())
    return env


def default_signature(spec: ModelSpec) -> ModelSignature:
    """float32 (-1, obs_dim) → action, meaning, direction, size, probability, value; with `deterministic` and `seed`."""
    outputs = {
        "action": DataType.long,
        "meaning": DataType.string,
        "direction": DataType.long,
        "size": DataType.double,
        "probability": DataType.double,
        "value": DataType.double,
    }
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, spec.obs_dim))]),
        outputs=Schema([ColSpec(kind, name) for name, kind in outputs.items()]),
        params=ParamSchema(
            [ParamSpec("deterministic", DataType.boolean, True), ParamSpec("seed", DataType.long, None)]
        ),
    )


def check_signature(signature: ModelSignature | None, spec: ModelSpec) -> None:
    """Refuse a signature through which `mlflow.pyfunc` wouldn't hand on the spec's observations as they are: SpecError.

    MLflow enforces inputs and params before it asks the model; what it does with outputs changes nothing.
    """
    if signature is None:
        return
    if not isinstance(signature, ModelSignature):
        raise SpecError("signature", parsing.show(signature), "a ModelSignature, True or False", _LEAVE_OUT)
    default = default_signature(spec)
    if signature.inputs is not None and signature.inputs not in (default.inputs, _any_length(default.inputs)):
        expected = _told(default.inputs)
        raise SpecError("signature.inputs", _told(signature.inputs), expected, _LEAVE_OUT)
    known = {param.name: param for param in default.params}
    for param in signature.params or ():
        if known.get(param.name) != param:
            expected = str(known[param.name]) if param.name in known else f"none but {', '.join(known)}"
            raise SpecError(f"signature.params.{param.name}", str(param), expected, _LEAVE_OUT)


def _any_length(inputs: Schema) -> Schema:
    """The same kind of inputs, of any length: those reach the model too, which checks them itself."""
    return Schema([TensorSpec(each.type, (-1,) * len(each.shape)) for each in inputs])


def _told(inputs: Schema) -> str:
    """Inputs as a message shows them: `(-1, 5900) float32`, a name or the kind of a column before it."""
    shown = [_tensor(each) if isinstance(each, TensorSpec) else f"the column {each}" for each in inputs]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _tensor(each: TensorSpec) -> str:
    kind = f"{each.shape} {each.type}"
    return f"{each.name!r}: {kind}" if each.name else kind


def save_model(
    policy: Source,
    path: str | os.PathLike[str],
    conda_env: dict[str, Any] | str | None = None,
    code_paths: list[str] | None = None,
    mlflow_model: Model | None = None,
    signature: ModelSignature | bool | None = None,
    input_example: ModelInputExample | None = None,
    pip_requirements: list[str] | str | None = None,
    extra_pip_requirements: list[str] | str | None = None,
    metadata: dict[str, Any] | None = None,
    spec: ModelSpec | None = None,
    golden: Golden | None = None,
    vouch: Vouch | None = None,
) -> None:
    """Save a policy as an MLflow model in the folder `path`, which must be empty or not there.

    `policy` is an ActorCritic, a Checkpoint, a checkpoint's path, or any other torch module from observations [n,
    obs_dim] to logits [n, n_actions] or (logits, values [n]): that one is stored as ONNX (extra `onnx`) and needs its
    `spec`. `spec` and `golden` come from the checkpoint or are given, and are never invented; without golden decisions
    `vouch` says who takes responsibility, or it warns. The other parameters are those of MLflow's own flavors;
    `signature=False` leaves it out.
    SpecError for `code_paths`, for a `signature` that the spec's observations don't pass, for something else than a
    policy, for a module whose export computes something else, and where policy, spec and golden decisions contradict
    each other; IncompatibleModel for a checkpoint with safety
    findings, and for golden decisions that this policy doesn't reproduce; CheckpointError; MissingExtra without the
    packages that export; MlflowException for what MLflow refuses.
    """
    _validate_env_arguments(conda_env, pip_requirements, extra_pip_requirements)
    if code_paths is not None:
        remedy = "features and specs ship as installed packages: name them in extra_pip_requirements"
        raise SpecError("code_paths", parsing.show(code_paths), "None", remedy)
    source = resolve(policy, spec, golden, vouch)
    model = Model() if mlflow_model is None else mlflow_model
    if signature is not False:
        model.signature = default_signature(source.spec) if signature in (None, True) else signature
    check_signature(model.signature, source.spec)
    _validate_and_prepare_target_save_path(str(path))
    root = Path(path)
    entry = write_model(root, *source)
    _save_example(model, input_example, str(root))
    if metadata is not None:
        model.metadata = metadata
    environments = {"conda_env": _CONDA_ENV_FILE_NAME, "python_env": _PYTHON_ENV_FILE_NAME}
    mlflow.pyfunc.add_to_model(model, loader_module=LOADER_MODULE, **environments)
    model.add_flavor(FLAVOR_NAME, **entry)
    _write_environment(root, conda_env, pip_requirements, extra_pip_requirements)
    model.model_size_bytes = get_total_file_size(str(root))
    model.save(str(root / MLMODEL))


def log_model(
    policy: Source,
    artifact_path: str | None = None,
    conda_env: dict[str, Any] | str | None = None,
    code_paths: list[str] | None = None,
    registered_model_name: str | None = None,
    signature: ModelSignature | bool | None = None,
    input_example: ModelInputExample | None = None,
    await_registration_for: int | None = DEFAULT_AWAIT_MAX_SLEEP_SECONDS,
    pip_requirements: list[str] | str | None = None,
    extra_pip_requirements: list[str] | str | None = None,
    metadata: dict[str, Any] | None = None,
    name: str | None = None,
    params: dict[str, Any] | None = None,
    tags: dict[str, Any] | None = None,
    model_type: str | None = None,
    step: int = 0,
    model_id: str | None = None,
    spec: ModelSpec | None = None,
    golden: Golden | None = None,
    vouch: Vouch | None = None,
) -> ModelInfo:
    """Log a policy to MLflow and, with `registered_model_name`, register it; returns MLflow's ModelInfo.

    `policy`, `spec`, `golden` and `vouch` are those of `save_model`, which tells what is refused; the other parameters
    are those of MLflow's own flavors (`artifact_path` is its deprecated word for `name`). Tags that start with `ppo.`
    are the registry gate's own: SpecError.
    """
    for key in tags or ():
        if str(key).startswith(RESERVED_TAGS):
            raise SpecError(f"tags.{key}", "a tag of the registry's gate", f"a name without {RESERVED_TAGS} before it")
    info: ModelInfo = Model.log(
        artifact_path=artifact_path,
        name=name,
        flavor=sys.modules[__name__],
        policy=policy,
        conda_env=conda_env,
        code_paths=code_paths,
        registered_model_name=registered_model_name,
        signature=signature,
        input_example=input_example,
        await_registration_for=await_registration_for,
        pip_requirements=pip_requirements,
        extra_pip_requirements=extra_pip_requirements,
        metadata=metadata,
        params=params,
        tags=tags,
        model_type=model_type,
        step=step,
        model_id=model_id,
        spec=spec,
        golden=golden,
        vouch=vouch,
    )
    return info


def load_model(model_uri: str, dst_path: str | None = None) -> ActorCritic | OnnxPolicy:
    """The policy of an MLflow model, for inference, every file checked; `.spec` is the stored spec.

    `model_uri` is `models:/…`, `runs:/…` or a path; `dst_path` an existing folder to download into. Takes observations
    [n, obs_dim] and [n, window, n_features], as torch tensors. An ActorCritic is the torch module itself, what was
    stored as ONNX an OnnxPolicy. Raises as `read_model`; MlflowException where MLflow doesn't find it.
    """
    folder = mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=dst_path)
    return read_model(Path(folder)).policy


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> Predictor:  # noqa: ARG001
    """What `mlflow.pyfunc` calls with the model's folder; a model has nothing to configure. Raises as `read_model`."""
    return Predictor(read_model(Path(path)))


def _write_environment(
    root: Path,
    conda_env: dict[str, Any] | str | None,
    pip_requirements: list[str] | str | None,
    extra_pip_requirements: list[str] | str | None,
) -> None:
    """Write conda.yaml, python_env.yaml, requirements.txt and, where given, constraints.txt: MLflow's files."""
    if conda_env is None:
        defaults = get_default_pip_requirements() if pip_requirements is None else None
        env, pip, constraints = _process_pip_requirements(defaults, pip_requirements, extra_pip_requirements)
    else:
        env, pip, constraints = _process_conda_env(conda_env)
    (root / _CONDA_ENV_FILE_NAME).write_text(yaml.safe_dump(env, default_flow_style=False))
    if constraints:
        (root / _CONSTRAINTS_FILE_NAME).write_text("\n".join(constraints))
    (root / _REQUIREMENTS_FILE_NAME).write_text("\n".join(pip))
    _PythonEnv.current().to_yaml(str(root / _PYTHON_ENV_FILE_NAME))
