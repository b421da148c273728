"""Case: what the gate knows when it is asked, and how it answers: with MLflow's result, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_CONFLICT

from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.gate import Contracts, Fleet, Ruling
from mlflow_ppo_flavor.registry.resolution import Models
from mlflow_ppo_flavor.registry.standing import Unread

InHand = dict[Unread, Contract]


@dataclass(frozen=True, slots=True)
class Case:
    """What the gate knows of the models that an operation touches; `unread` has to be read before it can rule."""

    guarded: bool
    models: Models
    fleet: Fleet
    contracts: Contracts
    unread: Sequence[Unread] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """How one attempt ended: MLflow's result, the ruling (None for an unguarded model), or what to read first."""

    result: Any = None
    ruling: Ruling | None = None
    unread: Sequence[Unread] = ()


def refusal(ruling: Ruling) -> MlflowException:
    """The error of a refused operation: HTTP 409, the fact first, the findings as JSON beside it."""
    return MlflowException(
        ruling.message,
        error_code=RESOURCE_CONFLICT,
        findings=[finding.to_dict() for finding in ruling.verdict.findings],
        verdict={"allowed": ruling.verdict.allowed, "strict": ruling.verdict.strict},
        moves=[move.to_dict() for move in ruling.moves],
    )
