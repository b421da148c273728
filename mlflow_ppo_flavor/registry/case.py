"""Case: what the gate knows when it is asked, and how it answers: with MLflow's result, or a refusal. Values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_CONFLICT

from mlflow_ppo_flavor.registry.candidates import Candidate, Origin
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.evidence import EvidenceOf
from mlflow_ppo_flavor.registry.gate import Contracts, Ruling
from mlflow_ppo_flavor.registry.resolution import VersionKey
from mlflow_ppo_flavor.registry.standing import Standing


@dataclass(slots=True)
class InHand:
    """What was fetched outside the transaction for the ruling in hand: contracts that can't be kept, since nobody can
    tell what they are, and the metrics of runs.
    """

    contracts: dict[Origin, Contract] = field(default_factory=dict)
    metrics: dict[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lack:
    """What has to be fetched, outside the transaction, before the gate can rule: contracts, and metrics of runs."""

    contracts: Sequence[Origin] = ()
    runs: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.contracts or self.runs)


@dataclass(frozen=True, slots=True)
class Case:
    """What the gate knows of the models that an operation touches."""

    guarded: bool
    standing: Standing
    candidates: Mapping[VersionKey, Candidate] = field(default_factory=dict)
    contracts: Contracts = field(default_factory=dict)
    evidence: EvidenceOf = field(default_factory=dict)
    lack: Lack = field(default_factory=Lack)

    def lacking(self, lack: Lack) -> Case:
        """The case that can't be ruled on yet."""
        return replace(self, lack=lack)


@dataclass(frozen=True, slots=True)
class Answer:
    """How one attempt ended: MLflow's result and the ruling (None for an unguarded model), or what to fetch first."""

    result: Any = None
    ruling: Ruling | None = None
    lack: Lack = field(default_factory=Lack)


def refusal(ruling: Ruling) -> MlflowException:
    """The error of a refused operation: HTTP 409, the fact first, the findings as JSON beside it."""
    return MlflowException(
        ruling.message,
        error_code=RESOURCE_CONFLICT,
        findings=[finding.to_dict() for finding in ruling.verdict.findings],
        verdict={"allowed": ruling.verdict.allowed, "strict": ruling.verdict.strict},
        moves=[move.to_dict() for move in ruling.moves],
    )


def unguarded(place: object) -> MlflowException:
    """The error of what is asked about a model that isn't guarded: HTTP 400, and no row of the history."""
    return MlflowException(
        f"{place}: found a model that isn't guarded, expected one with a version of the ppo flavor, a trader that "
        "announced for it or a place in the policy: use MLflow's own operations",
        error_code=INVALID_PARAMETER_VALUE,
    )
