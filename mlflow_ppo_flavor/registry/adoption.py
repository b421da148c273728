"""Adoption: the verdict on what an alias loads already when an announcement makes it a protected one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlflow_ppo_flavor.contract.reference import Reference
from mlflow_ppo_flavor.registry.case import Case
from mlflow_ppo_flavor.registry.clerk import Clerk
from mlflow_ppo_flavor.registry.gate import Ruling, moved_references, rule
from mlflow_ppo_flavor.registry.hearing import Hearing
from mlflow_ppo_flavor.registry.resolution import (
    NO_STAGE,
    Models,
    SetAlias,
    VersionKey,
)


@dataclass(frozen=True, slots=True)
class Adoption:
    """The ruling on what an alias loads; None where something is lacking."""

    reference: Reference
    case: Case
    ruling: Ruling | None = None

    def file(self, hearing: Hearing) -> None:
        """Append the verdict where it is allowed; it is recorded in both cases."""
        if self.ruling is None:
            return
        clerk = Clerk(hearing.session, hearing.occasion, hearing.setting)
        if self.ruling.allowed:
            clerk.load(self.ruling, self.case)
        clerk.record(self.reference.model, {"kind": "adopt", "label": self.reference.label}, self.ruling, self.case)


def judge_alias(hearing: Hearing, case: Case, reference: Reference) -> Adoption:
    """Rule on what an alias loads, in a fleet that loads it. Nothing is written."""
    operation, models = _setting(case.standing.models, reference)
    case = hearing.call(case, {VersionKey(reference.model, operation.version)})
    if case.lack:
        return Adoption(reference, case)
    known, policy = case.standing, hearing.setting.policy
    case = hearing.examine(case, moved_references(operation, models, known.fleet, policy))
    if case.lack:
        return Adoption(reference, case)
    who = hearing.occasion.who
    ruling = rule(operation, models, case.contracts, known.fleet, policy=policy, evidence=case.evidence, requester=who)
    return Adoption(reference, case, ruling)


def _setting(models: Models, reference: Reference) -> tuple[SetAlias, Models]:
    """The operation by which an alias comes to load what it loads, and the registry before it."""
    model = models[reference.model]
    alias, present = reference.alias or "", model.aliases[reference.alias or ""]
    before = {other: version for other, version in model.aliases.items() if other != alias}
    stages = {present: NO_STAGE, **model.stages}
    return SetAlias(model.name, alias, present), {**models, model.name: replace(model, aliases=before, stages=stages)}
