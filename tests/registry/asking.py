"""Asking the gate's rule, by any policy and with any evidence, about a model `m` of four kinds of versions."""

from dataclasses import replace
from typing import Any

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.contract.trader import Announcement
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.evidence import Evidence
from mlflow_ppo_flavor.registry.gate import Ruling, rule
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.resolution import Operation, RegisteredModel, Transition, VersionKey
from tests.registry.model_folders import trained

LATER = replace(trained("2.7.0"), version="2.8.0", requires_trader=">=2.8.0")
"""A model that the released trader 2.7.0 is too old for, and that it could compute: a version finding alone."""
KINDS = {
    1: Contract(True, trained("2.6.0"), "a" * 64, golden=True),
    2: Contract(True, trained("2.7.0"), "b" * 64, golden=True),
    3: Contract(True, LATER, "c" * 64, golden=True),
    4: Contract.unreadable("MLmodel has no ppo flavor, only sklearn"),
}
CONTRACTS = {VersionKey(model, version): contract for model in ("m", "n") for version, contract in KINDS.items()}
PRODUCTION, STAGING = Reference("m", "Production"), Reference("m", "Staging")
TOO_OLD = "model 2.8.0 requires trader >=2.8.0"


def policy(**data: Any) -> Policy:
    return Policy.from_dict(data)


def ask(
    operation: Operation,
    *fleet: Announcement,
    by: Policy | None = None,
    evidence: Evidence | dict[tuple[Reference, VersionKey], Evidence] | None = None,
    requester: str = "bob",
    stages: dict[int, str] | None = None,
    aliases: dict[str, int] | None = None,
) -> Ruling:
    """The ruling on an operation on model `m`; one evidence is that of the versions of `m` at both stages."""
    models = {"m": RegisteredModel("m", dict.fromkeys(KINDS, "None") | (stages or {}), aliases or {})}
    if isinstance(evidence, Evidence):
        evidence = {(each, VersionKey("m", v)): evidence for each in (PRODUCTION, STAGING) for v in KINDS}
    return rule(
        operation, models, CONTRACTS, fleet, policy=by or Policy(), evidence=evidence or {}, requester=requester
    )


def promote(version: int, stage: str = "Production") -> Transition:
    return Transition("m", version, stage)


def told(ruling: Ruling) -> list[tuple[str, str]]:
    return [(finding.code, finding.kind) for finding in ruling.verdict.findings if finding.code != "nobody_announced"]


ASKING: dict[str, Any] = {"approvals": 1, "metrics": {"sharpe": ">1"}, "required_tags": ["ok"]}
EVERYTHING = policy(**ASKING, require_attestation=True)
