"""Pure: moved references + contracts + fleet + policy → a ruling. May each reference load the version that it would?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlflow_ppo_flavor.contract.compatibility import Finding, Verdict
from mlflow_ppo_flavor.contract.trader import Trader
from mlflow_ppo_flavor.registry import fact
from mlflow_ppo_flavor.registry.conditions import judge_terms, overridden
from mlflow_ppo_flavor.registry.contracts import Contract
from mlflow_ppo_flavor.registry.evidence import NO_EVIDENCE, UNAUTHENTICATED, EvidenceOf
from mlflow_ppo_flavor.registry.judgement import (
    Fleet,
    default_traders,
    judge_contract,
    judge_fleet,
    weakest_first,
)
from mlflow_ppo_flavor.registry.policy import DEFAULT_POLICY, Policy
from mlflow_ppo_flavor.registry.resolution import (
    Models,
    Move,
    Operation,
    Transition,
    VersionKey,
    moves,
    stage_references,
    without_effect,
)

_MOST_TOLD = 20
Contracts = Mapping[VersionKey, Contract]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the gate says to one operation: the fact in one line, the verdict, the references that move, and the ids of
    the overrides that it used up.
    """

    fact: str
    verdict: Verdict
    moves: tuple[Move, ...] = ()
    overrides: tuple[int, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the operation may be carried out."""
        return self.verdict.allowed

    @property
    def message(self) -> str:
        """The fact, then the blocking findings one a line (the first 20 of them), version findings first."""
        blocking = sorted(self.verdict.blocking, key=_version_first)
        lines = [f"[{finding.kind}] {finding.message}" for finding in blocking[:_MOST_TOLD]]
        if len(blocking) > _MOST_TOLD:
            lines.append(f"and {len(blocking) - _MOST_TOLD} more findings, all of them in the answer's JSON")
        return "\n".join([self.fact, *lines])


@dataclass(frozen=True, slots=True)
class _Grounds:
    """What a ruling on an operation rests on."""

    operation: Operation
    contracts: Contracts
    fleet: Fleet
    policy: Policy
    evidence: EvidenceOf
    requester: str


@dataclass(frozen=True, slots=True)
class _Judged:
    """What was found of one moved reference; `refused` is the fact of its refusal, empty where it isn't refused."""

    findings: Sequence[Finding]
    refused: str = ""
    override: int | None = None


def moved_references(
    operation: Operation, models: Models, fleet: Fleet, policy: Policy = DEFAULT_POLICY
) -> tuple[Move, ...]:
    """The protected references that an operation on guarded models moves: both stages, the aliases that the policy
    names, and what traders announced.
    """
    announced = {a.reference for a in fleet if a.reference.model in operation.models}
    named = {reference for model in operation.models for reference in policy.protects(model)}
    return moves(models, operation, stage_references(operation.models) | announced | named)


def rule(
    operation: Operation,
    models: Models,
    contracts: Contracts,
    fleet: Fleet,
    *,
    policy: Policy = DEFAULT_POLICY,
    evidence: EvidenceOf | None = None,
    requester: str = UNAUTHENTICATED,
) -> Ruling:
    """May this operation on guarded models be done? `contracts` holds every version that a reference moves to.

    `evidence`: what is known of each version that a reference moves to; nothing where it is missing. Each reference is
    judged by its own terms, a copy's or a renamed model's by those of the new name. `requester`: who asks.
    """
    stays = without_effect(models, operation)
    if stays is not None and isinstance(operation, Transition):
        return _no_effect(operation, stays)
    moved = moved_references(operation, models, fleet, policy)
    grounds = _Grounds(operation, contracts, fleet, policy, evidence or {}, requester)
    judged = [_judge_move(grounds, move) for move in moved]
    verdict = Verdict(tuple(finding for each in judged for finding in each.findings), strict=True)
    if not verdict.allowed:
        return Ruling(next(each.refused for each in judged if each.refused), verdict, moved)
    used = tuple(dict.fromkeys(each.override for each in judged if each.override is not None))
    return Ruling(_allowed_fact(grounds, moved, judged), verdict, moved, used)


def rule_unknown(
    operation: Operation, models: Models, contracts: Contracts, policy: Policy = DEFAULT_POLICY
) -> Ruling | None:
    """The ruling on models of which no version is known to have the flavor, and nobody announced for; None: no matter.

    Nobody can tell whether they are guarded while the contract of a version isn't known. A version that is known to
    lack the flavor passes as if they weren't; one that isn't known enters no protected reference, as if they were.
    """
    moved = moved_references(operation, models, (), policy)
    entering = [move for move in moved if move.after is not None and not contracts[move.after].known]
    if not entering:
        return None
    findings = tuple(judge_contract(contracts[move.after], move.reference.label) for move in entering if move.after)
    first = entering[0]
    reason = "" if first.after is None else contracts[first.after].reason
    return Ruling(fact.refused_as(operation, first, reason), Verdict(findings, strict=True), moved)


def _judge_move(grounds: _Grounds, move: Move) -> _Judged:
    """What is found of one moved reference: by its traders, then by its terms, less what an override covers."""
    if move.after is None:
        return _Judged([_emptied(move, grounds.fleet)])
    contract, reference = grounds.contracts[move.after], move.reference
    evidence = grounds.evidence.get((reference, move.after), NO_EVIDENCE)
    terms = grounds.policy.terms(reference)
    judged = judge_fleet(reference, contract, grounds.fleet, terms)
    unmet: list[Finding] = []
    if not grounds.operation.retreats:
        unmet = judge_terms(reference, terms, evidence, [trader for trader, _ in judged], grounds.requester)

    def cover(findings: Sequence[Finding]) -> tuple[Finding, ...]:
        return tuple(overridden(finding, evidence.override, grounds.requester) for finding in findings)

    covered = [(trader, replace(verdict, findings=cover(verdict.findings))) for trader, verdict in judged]
    found = [finding for _, verdict in judged for finding in verdict.findings] + unmet
    findings = list(dict.fromkeys(cover(found)))
    served = evidence.override is not None and any(finding.code == "overridden" for finding in findings)
    refused = _refused(grounds.operation, move, contract, covered, cover(unmet))
    return _Judged(findings, refused, evidence.override.id if evidence.override and served else None)


def _refused(
    operation: Operation,
    move: Move,
    contract: Contract,
    judged: Sequence[tuple[Trader, Verdict]],
    unmet: Sequence[Finding],
) -> str:
    """The fact of the refusal that a moved reference's findings mean; empty where they mean none."""
    for trader, verdict in judged:
        if not verdict.allowed and contract.spec is None:
            return fact.refused_as(operation, move, contract.reason)
        if not verdict.allowed:
            return fact.refused_for(operation, move, trader, why(verdict))
    terms = Verdict(tuple(unmet), strict=True)
    return "" if terms.allowed else fact.refused_as(operation, move, why(terms))


def why(verdict: Verdict) -> str:
    """The reason that says most in one line: the version rule explains the features that are missing."""
    first = min(verdict.blocking, key=_version_first)
    return first.expected if first.kind == "version" else f"{first.found}: {first.expected}"


def _version_first(finding: Finding) -> bool:
    return finding.kind != "version"


def _no_effect(operation: Transition, stays: int) -> Ruling:
    finding = Finding(
        "without_effect",
        "safety",
        operation.stage,
        f"version {operation.version} below version {stays}",
        f"{operation.stage} loads the highest version in it",
        "archive the existing versions in the same call, or the higher one first",
    )
    return Ruling(fact.refused_without_effect(operation, stays), Verdict((finding,), strict=True))


def _allowed_fact(grounds: _Grounds, moved: Sequence[Move], judged: Sequence[_Judged]) -> str:
    return fact.allowed([_allowed(grounds, move, each) for move, each in zip(moved, judged, strict=True)])


def _allowed(grounds: _Grounds, move: Move, judged: _Judged) -> fact.Allowed:
    standing = default_traders(grounds.policy.terms(move.reference))
    override = None if move.after is None else grounds.evidence.get((move.reference, move.after), NO_EVIDENCE).override
    who = override.who if override is not None and override.id == judged.override else ""
    return fact.Allowed(move, len(weakest_first(move.reference, grounds.fleet)), standing, who)


def _emptied(move: Move, fleet: Fleet) -> Finding:
    ids = ", ".join(trader.trader_id for trader in weakest_first(move.reference, fleet))
    before = "" if move.before is None else f"version {move.before.version}"
    remedy = f"{ids} will find no model there" if ids else "nobody announced for it"
    return Finding("emptied", "warning", move.reference.label, f"{before} leaving", "nothing takes its place", remedy)
