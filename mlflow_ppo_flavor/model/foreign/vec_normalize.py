"""The statistics of a VecNormalize file of stable-baselines3, read without unpickling it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import CheckpointError
from mlflow_ppo_flavor.model.foreign.fault import fault
from mlflow_ppo_flavor.model.inert import Holder, read_pickle
from mlflow_ppo_flavor.model.pickled.regular_file import open_regular
from mlflow_ppo_flavor.model.policy import kind_of

_MODULE, _CLASS = "stable_baselines3.common.vec_env.vec_normalize", "VecNormalize"
_REMEDY = "give the file that VecNormalize.save wrote beside this model"
_MOST_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Statistics:
    """observation → clip((observation − mean) / scale, −clip, clip), in float64. `mean`, `scale` float64[obs_dim]."""

    mean: torch.Tensor
    scale: torch.Tensor
    clip: float


def read_statistics(path: str | os.PathLike[str], spec: ModelSpec) -> tuple[Statistics | None, list[Finding]]:
    """The statistics that a VecNormalize file normalises observations of `spec` with, and what is wrong.

    None without a finding where the file says that observations weren't normalised (norm_obs false). Nothing of the
    file is run. CheckpointError for a file that can't be read.
    """
    held = read_pickle(_content(path), str(path))
    known = isinstance(held, Holder) and held.path == f"{_MODULE}.{_CLASS}" and isinstance(held.state, Mapping)
    if not known:
        found = held.path if isinstance(held, Holder) else kind_of(held)
        return None, [fault(str(path), found, f"a pickled {_CLASS} of stable-baselines3", _REMEDY)]
    state = held.state
    if _number(state.get("norm_obs")) == 0:
        return None, []
    findings, numbers = list[Finding](), dict[str, Any]()
    for key, wanted in (("norm_obs", "true or false"), ("clip_obs", "a number above 0"), ("epsilon", "a number")):
        numbers[key] = _number(state.get(key))
        if numbers[key] is None or (key == "clip_obs" and numbers[key] <= 0):
            findings.append(fault(f"{path}: {key}", parsing.show(state.get(key)), wanted, _REMEDY))
    for key in ("mean", "var"):
        numbers[key], wrong = _flat(state.get("obs_rms"), key, spec, str(path))
        findings += wrong
    if findings:
        return None, findings
    spread = numbers["var"] + numbers["epsilon"]
    if not (spread > 0).all():
        row = int(np.flatnonzero(~(spread > 0))[0])
        found = f"variance {numbers['var'][row]:g} + epsilon {numbers['epsilon']:g} of number {row}"
        return None, [fault(f"{path}: obs_rms.var", found, "more than 0: it is divided by its root", _REMEDY)]
    return Statistics(torch.from_numpy(numbers["mean"]), torch.from_numpy(np.sqrt(spread)), numbers["clip_obs"]), []


def _content(path: str | os.PathLike[str]) -> bytes:
    try:
        with open_regular(path) as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}: expected a {_CLASS} file") from error
    if len(content) > _MOST_BYTES:
        raise CheckpointError(f"{path}: found more than {_MOST_BYTES} bytes, expected a {_CLASS} file's few")
    return content


def _number(value: object) -> float | None:
    """A finite Python or numpy number as a float; None for anything else."""
    plain = value.item() if isinstance(value, np.generic) else value
    return float(plain) if isinstance(plain, int | float) and np.isfinite(plain) else None


def _flat(
    held: object, key: str, spec: ModelSpec, path: str
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]] | None, list[Finding]]:
    """One array of the running statistics as float64[obs_dim], in C order: time-major, as observations are."""
    if isinstance(held, Mapping):
        found, wanted = f"one for each of {', '.join(map(str, held))}", "those of one observation, not of several"
        return None, [fault(f"{path}: obs_rms", found, wanted, "a dict observation isn't a spec's")]
    shapes = ((spec.obs_dim,), (spec.window, spec.n_features))
    array = held.state.get(key) if isinstance(held, Holder) and isinstance(held.state, Mapping) else None
    shown = f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else parsing.show(array)
    if isinstance(array, np.ndarray) and array.dtype == np.float64 and array.shape in shapes:
        if np.isfinite(array).all():
            return np.array(array, order="C").reshape(spec.obs_dim), []
        shown += ", with NaN or infinity"
    wanted = f"finite numbers of float64, [{spec.obs_dim}] or [{spec.window}, {spec.n_features}]"
    return None, [fault(f"{path}: obs_rms.{key}", shown, wanted, _REMEDY)]
