"""Adoption: the verdict on what a reference loads already, when an announcement makes it a protected one, or when
somebody repeats what went round the gate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import select

from mlflow_ppo_flavor.contract.reference import PROTECTED_STAGES, Reference
from mlflow_ppo_flavor.registry.candidates import candidates
from mlflow_ppo_flavor.registry.case import Case
from mlflow_ppo_flavor.registry.clerk import Clerk
from mlflow_ppo_flavor.registry.gate import Ruling, moved_references, rule
from mlflow_ppo_flavor.registry.hearing import Hearing
from mlflow_ppo_flavor.registry.policy import Policy
from mlflow_ppo_flavor.registry.resolution import (
    NO_STAGE,
    Models,
    Operation,
    SetAlias,
    Transition,
    VersionKey,
)
from mlflow_ppo_flavor.registry.standing import Standing
from mlflow_ppo_flavor.registry.tables import VERDICTS


@dataclass(frozen=True, slots=True)
class Adoption:
    """The ruling on what a reference loads; None where something is lacking."""

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


def judge_standing(hearing: Hearing, case: Case, reference: Reference) -> Adoption:
    """Rule on what a reference loads, as if it came to load it now. Nothing is written."""
    operation, models = _entering(case.standing.models, reference)
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


def judge_repeated(hearing: Hearing, case: Case, operation: Operation) -> Adoption | None:
    """The ruling on what a protected reference loads, where an operation repeats it and the last verdict on it is on
    something else: somebody went round the gate, and somebody says now that it is meant. None for other operations.
    """
    reference = _repeated(case.standing, operation, hearing.setting.policy)
    if reference is None or _is_ruled(hearing, case.standing, reference):
        return None
    return judge_standing(hearing, case, reference)


def _repeated(standing: Standing, operation: Operation, policy: Policy) -> Reference | None:
    """The protected reference that loads the version which the operation names for it, before as after."""
    match operation:
        case Transition(model, version, stage) if stage in PROTECTED_STAGES:
            reference = Reference(model, stage)
        case SetAlias(model, alias, version):
            reference = Reference(model, f"@{alias}")
            if reference not in {*policy.protects(model), *(each.reference for each in standing.fleet)}:
                return None
        case _:
            return None
    known = standing.models.get(model)
    return reference if known is not None and known.resolve(reference) == version else None


def _is_ruled(hearing: Hearing, standing: Standing, reference: Reference) -> bool:
    """Whether the last verdict on a reference is on what it loads, by number, time of creation and location."""
    version = standing.models[reference.model].resolve(reference) or 0
    key = VersionKey(reference.model, version)
    here = {"workspace": hearing.occasion.workspace, "model": reference.model, "label": reference.label}
    last = select(VERDICTS.c.version, VERDICTS.c.created, VERDICTS.c.location).filter_by(**here)
    row = hearing.session.execute(last.filter_by(sequence=standing.sequences.get(reference, 0))).first()
    origin = candidates(hearing.session, hearing.occasion.workspace, {key})[key].origin
    return row is not None and tuple(row) == (version, origin.created, origin.location)


def _entering(models: Models, reference: Reference) -> tuple[SetAlias | Transition, Models]:
    """The operation by which a reference comes to load what it loads, and the registry before it."""
    model = models[reference.model]
    present = model.resolve(reference) or 0
    stages = {present: NO_STAGE, **model.stages}
    if reference.alias is None:
        before = replace(model, stages={**stages, present: NO_STAGE})
        return Transition(model.name, present, reference.label), {**models, model.name: before}
    others = {other: version for other, version in model.aliases.items() if other != reference.alias}
    before = replace(model, aliases=others, stages=stages)
    return SetAlias(model.name, reference.alias, present), {**models, model.name: before}
