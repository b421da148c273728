"""What `mlflow.pyfunc` calls: observations in, a table of decisions out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.errors import IntegrityError, ObservationError
from mlflow_ppo_flavor.model.inference import Float32, Policy, infer
from mlflow_ppo_flavor.model.storage import StoredModel

COLUMNS = ("action", "meaning", "direction", "size", "probability", "value")
_MAX_SEED = 2**63 - 1


class Predictor:
    """A stored model as MLflow's generic interface serves it; `model` is what was read and verified."""

    def __init__(self, model: StoredModel) -> None:
        self.model = model
        actions = model.spec.actions
        # the kind that pandas would look for in every table anew
        self._meanings = pd.array([action.name for action in actions], dtype="str")
        self._directions = np.array([action.direction for action in actions], dtype=np.int64)
        self._sizes = np.array([action.size for action in actions])

    def predict(self, model_input: Float32, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """One row for each observation of float32[n, obs_dim]: action, meaning, direction, size, probability, value:
        NaN where the policy has no critic.

        `params`: `deterministic` (default true) takes the likeliest action; otherwise one is drawn by its probability,
        the same ones again for the same `seed`. ObservationError for another shape or kind and for NaN or infinity,
        SpecError for other parameters, IntegrityError for weights that don't give finite numbers.
        """
        deterministic, seed = _read_params(params)
        _check(model_input, self.model.spec)
        logits, values = infer(self.model.policy, model_input)
        judged = not self.model.policy.has_critic or np.isfinite(values).all()
        if not (judged and np.isfinite(logits).all()):
            raise IntegrityError("policy: found logits or values that aren't finite: don't use these weights")
        probabilities = _softmax(logits)
        actions = logits.argmax(axis=1) if deterministic else _draw(probabilities, seed)
        return pd.DataFrame(
            {
                "action": actions,
                "meaning": self._meanings.take(actions),
                "direction": self._directions[actions],
                "size": self._sizes[actions],
                "probability": probabilities[np.arange(len(actions)), actions],
                "value": values.astype(np.float64),
            },
            index=pd.RangeIndex(len(actions)),
            copy=False,
        )

    def get_raw_model(self) -> Policy:
        """The policy: what MLflow's `unwrap` of a generic model gives."""
        return self.model.policy


def _read_params(params: Mapping[str, Any] | None) -> tuple[bool, int | None]:
    if not params:
        return True, None
    read = parsing.mapping(params, "params", ("deterministic", "seed"))
    seed = read.get("seed")
    return (
        parsing.take(read, "deterministic", "params", parsing.flag, default=True),
        None if seed is None else parsing.integer(seed, "params.seed", low=0, high=_MAX_SEED),
    )


def _check(observations: object, spec: ModelSpec) -> None:
    expected = f"expected float32[n, {spec.obs_dim}] (spec {spec.version})"
    if not isinstance(observations, np.ndarray):
        raise ObservationError(f"observations: found {type(observations).__name__}, {expected}: give a numpy array")
    if observations.dtype != np.float32 or observations.shape[1:] != (spec.obs_dim,):
        found = f"{observations.dtype}{list(observations.shape)}"
        raise ObservationError(f"observations: found {found}, {expected}: build them with build_observation")
    # infinity and NaN survive a sum; a sum that overflows by itself costs a second look
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.isfinite(observations.sum())
    if suspicious and not np.isfinite(observations).all():
        _refuse_infinite(observations, spec)


def _refuse_infinite(observations: Float32, spec: ModelSpec) -> None:
    wrong = np.argwhere(~np.isfinite(observations))
    row, column = (int(index) for index in wrong[0])
    bar, feature = divmod(column, spec.n_features)
    number = f" ({len(wrong)} such numbers)" if len(wrong) > 1 else ""
    raise ObservationError(
        f"observations[{row}, {column}]: found {observations[row, column]}{number}, expected finite numbers: "
        f"it is {spec.features[feature]} of bar {bar} in the window of {spec.window}: check the bars it comes from"
    )


def _softmax(logits: Float32) -> npt.NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _draw(probabilities: npt.NDArray[np.float64], seed: int | None) -> npt.NDArray[np.int64]:
    """An action a row, by inverse transform: NumPy's own generator, so that torch's global one stays as it was."""
    points = np.random.default_rng(seed).random((len(probabilities), 1))
    drawn: npt.NDArray[np.int64] = (probabilities.cumsum(axis=1) <= points).sum(axis=1)
    # the last sum may round to just below 1
    return drawn.clip(max=probabilities.shape[1] - 1)
