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

from live.seal_check import VERDICT_CODES, Checked, SealCheck
from live.verification import Terms, Verification, unusable, verify
from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict
from mlflow_ppo_flavor.contract.digest import model_digest
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.seal import SealedVerdict
from mlflow_ppo_flavor.contract.spec import BarSpec, ModelSpec
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.errors import IntegrityError, PPOFlavorError, RegistryError, SpecError
from mlflow_ppo_flavor.model.reproduction import Reproduction
from mlflow_ppo_flavor.model.storage import MLMODEL, StoredModel

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

    `reproduction` is None where it has no golden decisions, `sealed` where the registry signed no verdict on it.
    """

    reference: Reference
    version: int
    digest: str
    spec: ModelSpec
    verdict: Verdict
    pyfunc: PyFuncModel
    reproduction: Reproduction | None
    sealed: SealedVerdict | None = None

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
    """A version that the trader won't run, and every reason. `sealed` is the registry's verdict where it is valid."""

    reference: Reference
    version: int
    findings: tuple[Finding, ...]
    sealed: SealedVerdict | None = None

    @property
    def for_its_verdict(self) -> bool:
        """Whether the registry's verdict is why, and not the model: the registry may give another one."""
        return any(finding.code in VERDICT_CODES for finding in self.findings)

    @property
    def message(self) -> str:
        """`ppo-aapl/Production version 2: …` with one finding a line."""
        reasons = "\n".join(f"  [{finding.kind}] {finding.message}" for finding in self.findings)
        return f"{self.reference} version {self.version}: refused, {len(self.findings)} finding(s)\n{reasons}"


class ModelSource:
    """Resolves one reference in the registry that MLflow is set to, and loads what it resolves to.

    `seals` checks the registry's verdict first; None asks for none.
    """

    def __init__(self, reference: Reference, trader: Trader, terms: Terms, seals: SealCheck | None = None) -> None:
        self.reference, self.trader, self.terms, self._seals = reference, trader, terms, seals
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
        """The version: its verdict checked, then downloaded, verified file by file, judged and replayed, then loaded
        through mlflow.pyfunc from that very copy, which only this process' user can reach (0700).

        RegistryError where it can't be downloaded, and where the reference moves on meanwhile.
        """
        digest = self._digest(version)
        checked = self._check_verdict(version, digest)
        if checked.refused:
            return RefusedModel(self.reference, version, checked.findings)
        with tempfile.TemporaryDirectory(prefix="mlflow-ppo-") as folder:
            root = self._download(version, folder)
            registered = checked.verdict.digest if checked.verdict else digest
            found = verify(root, registered, self.trader, self.terms)
            if found.stored is None or not found.verdict.allowed:
                return RefusedModel(self.reference, version, found.verdict.findings, checked.verdict)
            try:
                pyfunc = _loaded(root, found.stored)
            except (PPOFlavorError, MlflowException) as error:
                return RefusedModel(self.reference, version, (unusable(error),), checked.verdict)
        spec, digest = _with_bars(found.stored.spec, self.terms), found.stored.digest
        verdict = Verdict((*checked.findings, *found.verdict.findings), found.verdict.strict)
        return LoadedModel(self.reference, version, digest, spec, verdict, pyfunc, found.reproduction, checked.verdict)

    def verify(self, version: int) -> Verification:
        """What this trader makes of a version that it needn't load. RegistryError where it can't be downloaded."""
        with tempfile.TemporaryDirectory(prefix="mlflow-ppo-") as folder:
            registered = self._digest(version)
            return verify(self._download(version, folder), registered, self.trader, self.terms)

    def registered_digest(self, version: int) -> str | None:
        """The digest that the registry's gate read at registration, if it did. RegistryError if it can't be asked."""
        try:
            return self._client.get_model_version(self.reference.model, str(version)).tags.get(DIGEST_TAG)
        except MlflowException as error:
            raise RegistryError(f"{self._place(version)}: {_reason(error)}") from error

    def _digest(self, version: int) -> str | None:
        """The registered digest of a version that is about to be downloaded."""
        try:
            return self._client.get_model_version(self.reference.model, str(version)).tags.get(DIGEST_TAG)
        except MlflowException as error:
            raise RegistryError(f"{self._place(version)}: can't be downloaded: {_reason(error)}") from error

    def _check_verdict(self, version: int, digest: str | None) -> Checked:
        """What is found of the registry's verdict. The reference may move between the questions: that is no finding."""
        if self._seals is None:
            return Checked()
        checked = self._seals.check(self.reference, version, digest)
        if not checked.refused:
            return checked
        if self.resolve() != version:
            raise RegistryError(f"{self._place(version)}: the reference moved on while its verdict was checked")
        # it may have moved there and back
        return self._seals.check(self.reference, version, digest)

    def _download(self, version: int, folder: str) -> Path:
        return download(self._place(version), f"models:/{self.reference.model}/{version}", folder)

    def _place(self, version: int) -> str:
        return f"{self.reference} version {version}"


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


def _loaded(root: Path, stored: StoredModel) -> PyFuncModel:
    """The verified model through mlflow.pyfunc, which reads its folder again; IntegrityError where it read another."""
    pyfunc: PyFuncModel = mlflow.pyfunc.load_model(str(root))
    read = model_digest(pyfunc.metadata.flavors)
    if read != stored.digest:
        found = f"{root / MLMODEL}: found digest {read} when it was loaded, expected {stored.digest} as it was verified"
        raise IntegrityError(f"{found}: somebody changes this trader's own files, don't trade")
    return pyfunc


def _reason(error: Exception) -> str:
    """An error of MLflow's in one line of bounded length: it may hold whole statements and pages."""
    line = " ".join(str(error).split())
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1] + "…"


def _with_bars(spec: ModelSpec, terms: Terms) -> ModelSpec:
    """The spec with its bars filled from the flags where it has none."""
    if spec.bars is not None or terms.timeframe is None or terms.adjustment is None:
        return spec
    return spec.for_bars(timeframe=terms.timeframe, adjustment=terms.adjustment, symbols=spec.symbols)
