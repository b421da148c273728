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
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.pyfunc import PyFuncModel
from numpy.typing import NDArray

from live.loading import load_verified, try_out
from live.resolution import Resolution
from live.seal_check import VERDICT_CODES, Checked, SealCheck
from live.verification import Terms, Verification, unusable, verify
from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict
from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.seal import SealedVerdict
from mlflow_ppo_flavor.contract.spec import BarSpec, ModelSpec
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.errors import RegistryError, SpecError
from mlflow_ppo_flavor.model.reproduction import Reproduction
from mlflow_ppo_flavor.model.storage import MLMODEL

DIGEST_TAG = "ppo.digest"
LONGEST_REASON = 300
_FETCHED, _OWN = "fetched", "own"


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
    resolution: Resolution
    digest: str
    spec: ModelSpec
    verdict: Verdict
    pyfunc: PyFuncModel
    reproduction: Reproduction | None
    sealed: SealedVerdict | None = None

    @property
    def version(self) -> int:
        """The version's number."""
        return self.resolution.version

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
        table = self.pyfunc.predict(observation[np.newaxis, :])
        row = cast("pd.DataFrame", table).iloc[0]
        value = float(row["value"])
        return Choice(int(row["action"]), float(row["probability"]), None if math.isnan(value) else value)


@dataclass(frozen=True, slots=True)
class RefusedModel:
    """A version that the trader won't run, and every reason. `sealed` is the registry's verdict where it is valid."""

    reference: Reference
    resolution: Resolution
    findings: tuple[Finding, ...]
    sealed: SealedVerdict | None = None

    @property
    def version(self) -> int:
        """The version's number."""
        return self.resolution.version

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

    def resolve(self, reference: Reference | None = None) -> Resolution | None:
        """What its reference, or another one, loads now; None where it loads nothing.

        RegistryError where the registry can't be asked: that says nothing about the reference.
        """
        asked = reference or self.reference
        try:
            found = self._at_alias(asked) if asked.is_alias else self._in_stage(asked)
        except Exception as error:
            if isinstance(error, MlflowException) and error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                return None
            raise RegistryError(f"{asked}: {_reason(error)}: check the tracking URI and the server") from error
        return None if found is None else Resolution.of(found)

    def _at_alias(self, reference: Reference) -> ModelVersion | None:
        try:
            return self._client.get_model_version_by_alias(reference.model, reference.label[1:])
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(INVALID_PARAMETER_VALUE):
                raise
            # MLflow's word for an alias that isn't there, and for much else: that it isn't there ends positions
            if reference.alias in self._client.get_registered_model(reference.model).aliases:
                raise
            return None

    def _in_stage(self, reference: Reference) -> ModelVersion | None:
        versions = self._client.get_latest_versions(reference.model, stages=[reference.label])
        return max(versions, key=lambda found: int(found.version), default=None)

    def load_resolved(self, found: Resolution) -> LoadedModel | RefusedModel:
        """`load` of what the reference resolved to. RegistryError also where another version has taken its number."""
        loaded = self.load(found.version)
        if loaded.resolution != found:
            raise RegistryError(f"{self._place(found.version)}: another version took its place while it was loaded")
        return loaded

    def load(self, version: int) -> LoadedModel | RefusedModel:
        """The version: its verdict checked, then downloaded, verified file by file, judged and replayed, then loaded
        through mlflow.pyfunc from these very files, which only this process' user can reach (0700), and tried once.

        RegistryError where it can't be downloaded or copied, and where the reference moves on meanwhile.
        """
        entry = self._entry(version, "can't be downloaded: ")
        found = Resolution.of(entry)
        checked = self._check_verdict(found, entry.tags.get(DIGEST_TAG))
        if checked.refused:
            return RefusedModel(self.reference, found, checked.findings)
        with tempfile.TemporaryDirectory(prefix="mlflow-ppo-") as folder:
            root = self._download(version, folder)
            registered = checked.verdict.digest if checked.verdict else entry.tags.get(DIGEST_TAG)
            try:
                verified = verify(root, registered, self.trader, self.terms)
                return self._accept(found, verified, checked, (root, Path(folder, _OWN)))
            except RegistryError:
                # nothing that the model is to blame for
                raise
            except Exception as error:  # noqa: BLE001 -- files are a stranger's: nothing in them ends trading
                return RefusedModel(self.reference, found, (unusable(error),), checked.verdict)

    def _accept(
        self, found: Resolution, verified: Verification, checked: Checked, folders: tuple[Path, Path]
    ) -> LoadedModel | RefusedModel:
        """What was verified in the first folder, loaded from the second, if nothing speaks against it; raises whatever
        its files cause.
        """
        stored, verdict = verified.stored, verified.verdict
        if stored is None or not verdict.allowed:
            return RefusedModel(self.reference, found, verdict.findings, checked.verdict)
        pyfunc = load_verified(*folders, stored)
        wrong = try_out(pyfunc, stored)
        if wrong:
            return RefusedModel(self.reference, found, (*verdict.findings, *wrong), checked.verdict)
        return LoadedModel(
            reference=self.reference,
            resolution=found,
            digest=stored.digest,
            spec=_with_bars(stored.spec, self.terms),
            verdict=Verdict((*checked.findings, *verdict.findings), verdict.strict),
            pyfunc=pyfunc,
            reproduction=verified.reproduction,
            sealed=checked.verdict,
        )

    def verify(self, version: int) -> Verification:
        """What this trader makes of a version that it needn't load. RegistryError where it can't be downloaded."""
        with tempfile.TemporaryDirectory(prefix="mlflow-ppo-") as folder:
            registered = self._entry(version, "can't be downloaded: ").tags.get(DIGEST_TAG)
            return verify(self._download(version, folder), registered, self.trader, self.terms)

    def registered_digest(self, version: int) -> str | None:
        """The digest that the registry's gate read at registration, if it did. RegistryError if it can't be asked."""
        digest: str | None = self._entry(version).tags.get(DIGEST_TAG)
        return digest

    def _entry(self, version: int, failing: str = "") -> ModelVersion:
        """A version as the registry tells it."""
        try:
            return self._client.get_model_version(self.reference.model, str(version))
        except Exception as error:
            raise RegistryError(f"{self._place(version)}: {failing}{_reason(error)}") from error

    def _check_verdict(self, found: Resolution, digest: str | None) -> Checked:
        """What is found of the registry's verdict. The reference may move between the questions: that is no finding."""
        if self._seals is None:
            return Checked()
        checked = self._seals.check(self.reference, found.version, digest)
        if not checked.refused:
            return checked
        if self.resolve() != found:
            moved = "the reference moved on while its verdict was checked"
            raise RegistryError(f"{self._place(found.version)}: {moved}")
        # it may have moved there and back
        return self._seals.check(self.reference, found.version, digest)

    def _download(self, version: int, folder: str) -> Path:
        fetched = Path(folder, _FETCHED)
        fetched.mkdir()
        return download(self._place(version), f"models:/{self.reference.model}/{version}", str(fetched))

    def _place(self, version: int) -> str:
        return f"{self.reference} version {version}"


def download(place: str, uri: str, folder: str) -> Path:
    """Where the copy of a model now is that was fetched into `folder`; RegistryError, which names `place`, without."""
    try:
        root = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
    except Exception as error:
        raise RegistryError(f"{place}: can't be downloaded: {_reason(error)}") from error
    if not (root / MLMODEL).is_file():
        # MLflow takes a store that has nothing there for a model of no files
        raise RegistryError(f"{place}: can't be downloaded: found no {MLMODEL}")
    return root


def _reason(error: Exception) -> str:
    """An error of MLflow's in one line of bounded length: it may hold whole statements and pages."""
    if not isinstance(error, MlflowException | OSError):
        return f"unexpected {parsing.told(error)}"
    line = " ".join(str(error).split())
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1] + "…"


def _with_bars(spec: ModelSpec, terms: Terms) -> ModelSpec:
    """The spec with its bars filled from the flags where it has none."""
    if spec.bars is not None or terms.timeframe is None or terms.adjustment is None:
        return spec
    return spec.for_bars(timeframe=terms.timeframe, adjustment=terms.adjustment, symbols=spec.symbols)
