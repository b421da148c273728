"""Where the model comes from: a reference, resolved again and again; what it loads is verified before it acts."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.pyfunc import PyFuncModel
from numpy.typing import NDArray

from live.verification import Terms, Verification, unusable, verify
from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.spec import BarSpec, ModelSpec
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.errors import PPOFlavorError, RegistryError, SpecError
from mlflow_ppo_flavor.model.reproduction import Reproduction
from mlflow_ppo_flavor.model.storage import MLMODEL

DIGEST_TAG = "ppo.digest"
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Choice:
    """What a policy chose for one observation: the action, its probability, and the critic's value, if it has one."""

    action: int
    probability: float
    value: float | None


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A verified version that the trader may run; its `spec` names bars. `verdict` holds the soft findings.

    `reproduction` is None where it has no golden decisions.
    """

    reference: Reference
    version: int
    digest: str
    spec: ModelSpec
    verdict: Verdict
    pyfunc: PyFuncModel
    reproduction: Reproduction | None

    @property
    def bars(self) -> BarSpec:
        """The bars that the spec names."""
        if self.spec.bars is None:
            raise SpecError("bars", "none", "bars filled when the model was loaded")
        return self.spec.bars

    @property
    def proof(self) -> str:
        """How it is proven: `94 golden decisions reproduced`, or `unproven`."""
        return f"{self.reproduction.decisions} golden decisions reproduced" if self.reproduction else "unproven"

    def choose(self, observation: NDArray[np.float32]) -> Choice:
        """The likeliest action for an observation, float32[obs_dim]; ObservationError for NaN or infinity."""
        table = self.pyfunc.predict(observation[np.newaxis, :], params={"deterministic": True})
        row = cast("pd.DataFrame", table).iloc[0]
        value = float(row["value"])
        return Choice(int(row["action"]), float(row["probability"]), None if math.isnan(value) else value)


@dataclass(frozen=True, slots=True)
class RefusedModel:
    """A version that the trader won't run, and every reason."""

    reference: Reference
    version: int
    findings: tuple[Finding, ...]

    @property
    def message(self) -> str:
        """`ppo-aapl/Production version 2: …` with one finding a line."""
        reasons = "\n".join(f"  [{finding.kind}] {finding.message}" for finding in self.findings)
        return f"{self.reference} version {self.version}: refused, {len(self.findings)} finding(s)\n{reasons}"


class ModelSource:
    """Resolves one reference in the registry that MLflow is set to, and loads what it resolves to."""

    def __init__(self, reference: Reference, trader: Trader, terms: Terms) -> None:
        self.reference, self.trader, self.terms = reference, trader, terms
        self._client = MlflowClient()

    def resolve(self, reference: Reference | None = None) -> int | None:
        """The version that its reference, or another one, loads now; None where it loads nothing.

        RegistryError where the registry can't be asked: that says nothing about the reference.
        """
        asked = reference or self.reference
        try:
            return self._resolve_alias(asked) if asked.is_alias else self._resolve_stage(asked)
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                return None
            raise RegistryError(f"{asked}: {_reason(error)}: check the tracking URI and the server") from error

    def _resolve_alias(self, reference: Reference) -> int | None:
        version = self._client.get_registered_model(reference.model).aliases.get(reference.alias)
        return None if version is None else int(version)

    def _resolve_stage(self, reference: Reference) -> int | None:
        versions = self._client.get_latest_versions(reference.model, stages=[reference.label])
        return max((int(found.version) for found in versions), default=None)

    def load(self, version: int) -> LoadedModel | RefusedModel:
        """The version, downloaded, verified file by file, judged and replayed, then loaded through mlflow.pyfunc.

        RegistryError where it can't be downloaded.
        """
        with tempfile.TemporaryDirectory(prefix="mlflow-ppo-") as folder:
            root, registered = self._download(version, folder)
            found = verify(root, registered, self.trader, self.terms)
            if found.stored is None or not found.verdict.allowed:
                return RefusedModel(self.reference, version, found.verdict.findings)
            try:
                pyfunc = mlflow.pyfunc.load_model(str(root))
            except (PPOFlavorError, MlflowException) as error:
                return RefusedModel(self.reference, version, (unusable(error),))
        spec, digest = _with_bars(found.stored.spec, self.terms), found.stored.digest
        return LoadedModel(self.reference, version, digest, spec, found.verdict, pyfunc, found.reproduction)

    def verify(self, version: int) -> Verification:
        """What this trader makes of a version that it needn't load. RegistryError where it can't be downloaded."""
        with tempfile.TemporaryDirectory(prefix="mlflow-ppo-") as folder:
            root, registered = self._download(version, folder)
            return verify(root, registered, self.trader, self.terms)

    def registered_digest(self, version: int) -> str | None:
        """The digest that the registry's gate read at registration, if it did. RegistryError if it can't be asked."""
        try:
            return self._client.get_model_version(self.reference.model, str(version)).tags.get(DIGEST_TAG)
        except MlflowException as error:
            raise RegistryError(f"{self.reference} version {version}: {_reason(error)}") from error

    def _download(self, version: int, folder: str) -> tuple[Path, str | None]:
        """Where the copy is, and the digest that the registry's gate read at registration, if it did."""
        model = self.reference.model
        place = f"{self.reference} version {version}"
        try:
            tags = self._client.get_model_version(model, str(version)).tags
        except MlflowException as error:
            raise RegistryError(f"{place}: can't be downloaded: {_reason(error)}") from error
        return download(place, f"models:/{model}/{version}", folder), tags.get(DIGEST_TAG)


def download(place: str, uri: str, folder: str) -> Path:
    """Where the copy of a model now is that was fetched into `folder`; RegistryError, which names `place`, without."""
    try:
        root = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
    except (MlflowException, OSError) as error:
        raise RegistryError(f"{place}: can't be downloaded: {_reason(error)}") from error
    if not (root / MLMODEL).is_file():
        # MLflow takes a store that has nothing there for a model of no files
        raise RegistryError(f"{place}: can't be downloaded: found no {MLMODEL}")
    return root


def _reason(error: Exception) -> str:
    """An error of MLflow's in one line of bounded length: it may hold whole statements and pages."""
    line = " ".join(str(error).split())
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1] + "…"


def _with_bars(spec: ModelSpec, terms: Terms) -> ModelSpec:
    """The spec with its bars filled from the flags where it has none."""
    if spec.bars is not None or terms.timeframe is None or terms.adjustment is None:
        return spec
    return spec.for_bars(timeframe=terms.timeframe, adjustment=terms.adjustment, symbols=spec.symbols)
