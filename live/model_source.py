"""Where the model comes from: a reference, resolved again and again; what it loads is verified before it acts."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
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

from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict, judge
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.spec import BarSpec, ModelSpec
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.errors import IntegrityError, PPOFlavorError, RegistryError, SpecError
from mlflow_ppo_flavor.model.replay import replay
from mlflow_ppo_flavor.model.storage import MLMODEL, StoredModel, read_model

DIGEST_TAG = "ppo.digest"
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Terms:
    """What a model is judged by besides its trader: strictness, and what the trader was told to trade.

    `timeframe` and `adjustment` None take the spec's own; differing ones are safety findings.
    """

    strict: bool
    timeframe: str | None
    adjustment: str | None
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a policy chose for one observation: the action, its probability, and the critic's value."""

    action: int
    probability: float
    value: float


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A verified version that the trader may run; its `spec` names bars. `verdict` holds the soft findings."""

    reference: Reference
    version: int
    digest: str
    spec: ModelSpec
    verdict: Verdict
    pyfunc: PyFuncModel

    @property
    def bars(self) -> BarSpec:
        """The bars that the spec names."""
        if self.spec.bars is None:
            raise SpecError("bars", "none", "bars filled when the model was loaded")
        return self.spec.bars

    def choose(self, observation: NDArray[np.float32]) -> Choice:
        """The likeliest action for an observation, float32[obs_dim]; ObservationError for NaN or infinity."""
        table = self.pyfunc.predict(observation[np.newaxis, :], params={"deterministic": True})
        row = cast("pd.DataFrame", table).iloc[0]
        return Choice(int(row["action"]), float(row["probability"]), float(row["value"]))


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

    def resolve(self) -> int | None:
        """The version that the reference loads now; None where it loads nothing.

        RegistryError where the registry can't be asked: that says nothing about the reference.
        """
        try:
            return self._resolve_alias() if self.reference.is_alias else self._resolve_stage()
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                return None
            raise RegistryError(f"{self.reference}: {_reason(error)}: check the tracking URI and the server") from error

    def _resolve_alias(self) -> int | None:
        version = self._client.get_registered_model(self.reference.model).aliases.get(self.reference.alias)
        return None if version is None else int(version)

    def _resolve_stage(self) -> int | None:
        versions = self._client.get_latest_versions(self.reference.model, stages=[self.reference.label])
        return max((int(found.version) for found in versions), default=None)

    def load(self, version: int) -> LoadedModel | RefusedModel:
        """The version, downloaded, verified file by file, loaded through mlflow.pyfunc, judged, and replayed.

        RegistryError where it can't be downloaded.
        """
        with tempfile.TemporaryDirectory(prefix="mlflow-ppo-") as folder:
            root, registered = self._download(version, folder)
            try:
                stored = read_model(root)
                _check_registered(stored, registered)
                pyfunc = mlflow.pyfunc.load_model(str(root))
                return self._judged(version, stored, pyfunc)
            except (PPOFlavorError, MlflowException) as error:
                code = "integrity" if isinstance(error, IntegrityError) else "unloadable"
                finding = Finding(code, "safety", "model", str(error), "expected a model as logged", "log it again")
                return RefusedModel(self.reference, version, (finding,))

    def _download(self, version: int, folder: str) -> tuple[Path, str | None]:
        """Where the copy is, and the digest that the registry's gate read at registration, if it did."""
        model = self.reference.model
        try:
            tags = self._client.get_model_version(model, str(version)).tags
            root = mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{model}/{version}", dst_path=folder)
        except (MlflowException, OSError) as error:
            raise RegistryError(f"{self.reference} version {version}: can't be downloaded: {_reason(error)}") from error
        if not (Path(root) / MLMODEL).is_file():
            # MLflow takes a store that has nothing there for a model of no files
            raise RegistryError(f"{self.reference} version {version}: can't be downloaded: found no {MLMODEL}")
        return Path(root), tags.get(DIGEST_TAG)

    def _judged(self, version: int, stored: StoredModel, pyfunc: PyFuncModel) -> LoadedModel | RefusedModel:
        golden, terms = stored.golden, self.terms
        verdict = judge(
            stored.spec,
            self.trader,
            proven=golden is not None,
            strict=terms.strict,
            timeframe=terms.timeframe,
            adjustment=terms.adjustment,
            symbols=terms.symbols,
        )
        replayed = () if golden is None else replay(golden, stored.policy, stored.spec)
        verdict = Verdict((*verdict.findings, *_bars_findings(stored.spec, terms), *replayed), terms.strict)
        if not verdict.allowed:
            return RefusedModel(self.reference, version, verdict.findings)
        spec = _with_bars(stored.spec, terms)
        return LoadedModel(self.reference, version, stored.digest, spec, verdict, pyfunc)


def _reason(error: Exception) -> str:
    """An error of MLflow's in one line of bounded length: it may hold whole statements and pages."""
    line = " ".join(str(error).split())
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1] + "…"


def _check_registered(stored: StoredModel, registered: str | None) -> None:
    """Refuse bytes that aren't those that the registry read when the version was registered."""
    if registered is not None and registered != stored.digest:
        found = f"digest: found {stored.digest}, expected {registered} as the registry read it at registration"
        raise IntegrityError(f"{found}: the model was changed since, don't trade it")


def _bars_findings(spec: ModelSpec, terms: Terms) -> Sequence[Finding]:
    """A spec that doesn't say its bars needs a trader that was told them."""
    if spec.bars is not None or (terms.timeframe and terms.adjustment):
        return ()
    expected = "expected a timeframe and an adjustment from the spec or from the trader's flags"
    return [Finding("bars", "safety", "bars", "neither", expected, "give --timeframe and --adjustment")]


def _with_bars(spec: ModelSpec, terms: Terms) -> ModelSpec:
    """The spec with its bars filled from the flags where it has none."""
    if spec.bars is not None or terms.timeframe is None or terms.adjustment is None:
        return spec
    return spec.for_bars(timeframe=terms.timeframe, adjustment=terms.adjustment, symbols=spec.symbols)
